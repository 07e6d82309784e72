"""Checks of the command line before Hydra reads it. All faults are reported together, with what is allowed.

Hydra stops at the first unknown key and suggests ``+key``, which then runs with the defaults. So group choices and
top-level keys are checked here against conf/. Plain assignments are passed on as ``++key=value``: an unknown inner key
reaches the schema, which reports all of them.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, ValueType
from hydra.errors import HydraException
from hydra.types import RunMode

from stc.config.hydra_arguments import (
    add_sweeper_params,
    config_groups,
    format_arguments,
    hydra_session,
    parse_arguments,
    root_config_name,
)
from stc.config.launcher import default_arguments, launcher_faults, missing_requirements
from stc.config.override_values import parse_leniently, parse_override, value_text
from stc.errors import ConfigError, Fault, first_line, suggestion

_SWEEPER_PARAMS = "hydra.sweeper.params"


def check_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for Hydra: options first, and ``-m`` among them if they ask for a sweep.

    Raises:
        ConfigError: with every group choice and top-level key that does not exist.
    """
    from stc.config.schema import Config

    options = parse_arguments(arguments)
    groups = config_groups(options)
    top_level = [*dict.fromkeys([*groups, *Config.model_fields, "plan", "hydra"])]
    faults: list[Fault] = []
    passed: list[str] = []
    parsed: list[Override] = []
    options.multirun = not options.cfg and _asks_for_sweep(options)
    for argument in _expand_sweeper_params(options.overrides) if options.multirun else options.overrides:
        if (override := _parse(argument, options.multirun, faults)) is None:
            continue
        parsed.append(override)
        if found := _override_faults(override, groups, top_level, options.multirun):
            faults += found
        else:
            passed.append(_pass_on(override, groups))
    faults += launcher_faults(parsed, options.multirun or bool(options.cfg))
    if faults:
        from stc.config.composition import composition_faults

        raise ConfigError(faults + composition_faults(format_arguments(options, passed)))
    return format_arguments(options, [*passed, *default_arguments(parsed)])


def expand_jobs(arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[list[str]]:
    """Return the overrides of every job: one job for a single run, one for each combination of a sweep.

    Args:
        loader: Hydra's, which resolves ``glob(…)``.
    """
    options = parse_arguments(arguments)
    if not options.multirun:
        return [options.overrides]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(options.overrides)
    return [list(job) for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


def require_launcher(arguments: Sequence[str]) -> None:
    """Raise ConfigError if this machine lacks what the launcher of a sweep needs. A plan does not need it."""
    if missing := missing_requirements([parse_override(one) for one in parse_arguments(arguments).overrides]):
        raise ConfigError(missing)


def split_plan_option(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether ``plan=true`` is among the arguments, and the other arguments.

    Raises:
        ConfigError: plan is neither true nor false.
    """
    options = parse_arguments(arguments)
    planning, others = False, []
    for argument in options.overrides:
        name, _, value = argument.partition("=")
        if name.lstrip("+") != "plan":
            others.append(argument)
        elif value.lower() in ("true", "false"):
            planning = value.lower() == "true"
        else:
            raise ConfigError([Fault("plan", value, "must be true or false")])
    return planning, format_arguments(options, others)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Return whether the arguments, checked and validated, ask for a sweep."""
    return bool(parse_arguments(arguments).multirun)


def _parse(argument: str, sweep: bool, faults: list[Fault]) -> Override | None:
    """Return an override, or add to the faults."""
    key, equals, value = argument.partition("=")
    if any("\ud800" <= letter <= "\udfff" for letter in argument):
        faults.append(Fault(key, value, "is not valid text in this locale, and Hydra stores it as UTF-8"))
        return None
    try:
        return parse_leniently(argument, sweep)
    except HydraException as error:
        why = first_line(error)
        allowed = f"Hydra does not accept this key: {why}" if equals else f"must be an assignment, key=value: {why}"
        faults.append(Fault(key, value, allowed))
        return None


def _override_faults(
    override: Override, groups: Mapping[str, Sequence[str]], top_level: Sequence[str], sweep: bool
) -> list[Fault]:
    key = override.key_or_group
    first = re.split(r"[./]", key)[0]
    if first not in top_level:
        allowed = f"no such key; top-level keys are {', '.join(top_level)}{suggestion(first, top_level)}"
        return [Fault(key, value_text(override), allowed)]
    if fault := _fault_of_several_values(override, groups.get(key), sweep):
        return [fault]
    return _unknown_members(override, groups[key]) if key in groups else []


def _pass_on(override: Override, groups: Mapping[str, Sequence[str]]) -> str:
    """Return the argument that Hydra gets for a valid override: ``++key=value`` for a plain assignment."""
    key, argument = override.key_or_group, override.input_line or ""
    own_syntax = override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None
    as_it_is = key in groups or key.startswith(("hydra.", "hydra/")) or key == "hydra" or "/" in key or own_syntax
    return argument if as_it_is else f"++{argument}"


def _fault_of_several_values(override: Override, members: Sequence[str] | None, sweep: bool) -> Fault | None:
    """Return a fault where several values are given and one is needed."""
    value, text, name = override.value(), value_text(override), _group_name(override)
    if override.is_interval_sweep():
        return Fault(name, text, "a sweep needs single values: a,b,c or range(START,STOP,STEP)")
    several = override.is_sweep_override() and not sweep
    choices = value if isinstance(value, list) else [*getattr(value, "list", ())]
    is_list = bool(members) and (isinstance(value, list) or any(isinstance(one, list) for one in choices))
    if not (several or is_list):
        return None
    separate = "".join(sign for sign in text if sign not in "[] ")
    if name == "seeds":
        return Fault(name, text, f"must be a list: seeds=[{separate}]")
    one = f"one of {', '.join(members)}" if members else "one value"
    return Fault(name, text, f"must be exactly {one}; -m {name}={separate if is_list else text} runs each of them")


def _group_name(override: Override) -> str:
    return override.get_key_element().lstrip("+~")


def _unknown_members(override: Override, members: Sequence[str]) -> list[Fault]:
    """Return a fault for every choice that the group does not have. Hydra itself resolves interpolations and
    ``glob(…)``."""
    if override.is_delete() or override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return []
    chosen: list[Any] = [override.value()]
    if override.is_discrete_sweep():
        chosen = [one.text if isinstance(one, QuotedString) else one for one in override.sweep_iterator()]
    return [
        Fault(_group_name(override), one, f"must be one of {', '.join(members)}{suggestion(str(one), members)}")
        for one in chosen
        if one not in members and "${" not in str(one)
    ]


def _asks_for_sweep(options: Namespace) -> bool:
    """Return whether a command asks for a sweep: by ``-m``, or by ``hydra.mode``, which a config may set as well.

    A command without several values is not composed here: composing it later finds what its configs say.
    """
    if options.multirun:
        return True
    parsed = [one for one in (_parse(argument, True, []) for argument in options.overrides) if one is not None]
    if not any(one.is_sweep_override() or one.key_or_group == "hydra.mode" for one in parsed):
        return False
    with hydra_session(options) as hydra:
        mode = hydra.get_mode(root_config_name(options), [one.input_line for one in parsed])
        return bool(mode is RunMode.MULTIRUN)


def _expand_sweeper_params(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep with ``hydra.sweeper.params`` written as assignments. On the command line Hydra
    does not accept it, since it is null by default."""
    params: dict[str, Any] = {}
    others = []
    for argument in overrides:
        override = _parse(argument, True, [])
        before, _, after = (override.key_or_group if override else argument).partition(_SWEEPER_PARAMS)
        value = (value_text(override) if override.is_sweep_override() else override.value()) if override else None
        if before == "" and after:
            params[after.lstrip(".")] = value
        elif before == "" and isinstance(value, dict):
            params |= value
        else:
            others.append(argument)
    return add_sweeper_params(params, others)

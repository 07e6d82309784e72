"""The command line before Hydra sees it: every fault in it at once, in words that name what is allowed.

Hydra stops at the first unknown key and advises ``+key``, which then runs the defaults. Here group choices and
top-level keys are checked against conf/, and plain assignments are passed on as ``++key=value``, so that an unknown
inner key reaches the schema, which answers for all of them together.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stc.config.hydra_arguments import config_groups, format_arguments, hydra_session, parse_arguments, root_config_name
from stc.errors import ConfigError, Fault, command_line_value, first_line, suggestion

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from stc.config.schema import Plan


_COMPOSED_WITH = (
    "hydra.searchpath", "hydra.mode", "hydra/sweeper", "hydra.sweeper", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
"""Settings of Hydra's own that decide which jobs there are, what is in them, and which folders are made for them."""


_SWEEPER_PARAMS = "hydra.sweeper.params"


class ComposedJob(NamedTuple):
    """A job of a command: its overrides, its config composed of them, and what that comes to."""

    overrides: list[str]
    config: DictConfig
    plan: Plan


def check_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra should get them: options first, and ``-m`` among them if they ask for a sweep.

    Raises:
        ConfigError: with every group choice and top-level key that does not exist.
    """
    from stc.config import launcher
    from stc.config.schema import Config

    given = parse_arguments(arguments)
    known = config_groups(given)
    top = [*dict.fromkeys([*known, *Config.model_fields, "plan", "hydra"])]
    faults: list[Fault] = []
    passed: list[str] = []
    parsable: list[Override] = []
    given.multirun = not given.cfg and _asks_for_a_sweep(given)
    for argument in _with_sweeper_params(given.overrides) if given.multirun else given.overrides:
        override = _understood(argument, given.multirun, faults)
        if override is None:
            continue
        parsable.append(override)
        key = override.key_or_group
        first = re.split(r"[./]", key)[0]
        if first not in top:
            allowed = f"no such key; at the top are {', '.join(top)}{suggestion(first, top)}"
            faults.append(Fault(key, _value(override), allowed))
        elif wrong := _wrong_form(override, known.get(key), given.multirun):
            faults.append(wrong)
        elif key in known:
            faults += (bad := _no_members(override, known[key]))
            passed += [] if bad else [override.input_line or ""]
        else:
            as_it_is = first == "hydra" or "/" in key or override.package is not None
            prefix = "" if as_it_is or override.is_add() or override.is_force_add() or override.is_delete() else "++"
            passed.append(f"{prefix}{override.input_line}")
    faults += launcher.launcher_faults(parsable, given.multirun or bool(given.cfg))
    if faults:
        raise ConfigError(faults + _composed(format_arguments(given, passed))[2])
    return format_arguments(given, [*passed, *launcher.default_arguments(parsable)])


def expand_jobs(arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[list[str]]:
    """The overrides of every job: one for a single run, each combination for a sweep.

    Args:
        loader: Hydra's, which knows what ``glob(…)`` stands for.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = parse_arguments(arguments)
    if not given.multirun:
        return [given.overrides]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(given.overrides)
    return [list(job) for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


def validate_jobs(arguments: Sequence[str]) -> tuple[list[str], list[Plan]]:
    """Compose and validate every job before the first of them starts.

    Returns:
        the arguments, in which a sweep that the configs ask for is written out, and what each job comes to.

    Raises:
        ConfigError: with the faults of all jobs, each once.
    """
    settled, found, faults = _composed(arguments)
    if faults:
        raise ConfigError(faults)
    return settled, [job.plan for job in found]


def require_launcher(arguments: Sequence[str]) -> None:
    """Look for what a sweep is launched by on this machine. A plan, and printing the config, don't need it.

    Raises:
        ConfigError: it is not here.
    """
    from stc.config import launcher
    from stc.config.override_values import parse_override

    if lacking := launcher.missing_requirements([parse_override(one) for one in parse_arguments(arguments).overrides]):
        raise ConfigError(lacking)


def compose_jobs(arguments: Sequence[str]) -> list[ComposedJob]:
    """Every job.

    Raises:
        ConfigError: with the faults of all jobs, each once.
    """
    _, found, faults = _composed(arguments)
    if faults:
        raise ConfigError(faults)
    return found


def split_plan_option(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether ``plan=true`` is among the arguments, and the others.

    Raises:
        ConfigError: plan is neither true nor false.
    """
    given = parse_arguments(arguments)
    asked, others = False, []
    for argument in given.overrides:
        name, _, value = argument.partition("=")
        if name.lstrip("+") != "plan":
            others.append(argument)
        elif value.lower() in ("true", "false"):
            asked = value.lower() == "true"
        else:
            raise ConfigError([Fault("plan", value, "must be true or false")])
    return asked, format_arguments(given, others)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether the arguments, checked and validated, ask for a sweep."""
    return bool(parse_arguments(arguments).multirun)


def _understood(argument: str, sweep: bool, faults: list[Fault]) -> Override | None:
    """An assignment, or a fault more."""
    from hydra.errors import HydraException

    from stc.config.override_values import parse_leniently

    key, sign, value = argument.partition("=")
    if any("\ud800" <= letter <= "\udfff" for letter in argument):
        faults.append(Fault(key, value, "is not valid text in this locale, and Hydra writes it down as UTF-8"))
        return None
    try:
        return parse_leniently(argument, sweep)
    except HydraException as error:
        why = first_line(error)
        allowed = f"Hydra takes no such key: {why}" if sign else f"must be an assignment, key=value: {why}"
        faults.append(Fault(key, value, allowed))
        return None


def _value(override: Override) -> str:
    return (override.input_line or "").partition("=")[2]


def _name(override: Override) -> str:
    return override.get_key_element().lstrip("+~")


def _wrong_form(override: Override, members: Sequence[str] | None, sweep: bool) -> Fault | None:
    """A fault where several values are given and one is needed."""
    value, text, name = override.value(), _value(override), _name(override)
    if override.is_interval_sweep():
        return Fault(name, text, "single values are run: a,b,c or range(START,STOP,STEP)")
    several = override.is_sweep_override() and not sweep
    lists = value if isinstance(value, list) else [*getattr(value, "list", ())]
    listed = bool(members) and (isinstance(value, list) or any(isinstance(one, list) for one in lists))
    if not (several or listed):
        return None
    each = "".join(sign for sign in text if sign not in "[] ")
    if name == "seeds":
        return Fault(name, text, f"seeds=[{each}] is needed")
    one = f"exactly one of {', '.join(members)}" if members else "exactly one value"
    return Fault(name, text, f"{one} is needed; -m {name}={each if listed else text} runs each of several")


def _no_members(override: Override, members: Sequence[str]) -> list[Fault]:
    """A fault for every choice that the group does not have. What an interpolation comes to, and what ``glob(…)``
    stands for, is Hydra's to say."""
    from hydra.core.override_parser.types import QuotedString, ValueType

    if override.is_delete() or override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return []
    chosen: list[Any] = [override.value()]
    if override.is_discrete_sweep():
        chosen = [one.text if isinstance(one, QuotedString) else one for one in override.sweep_iterator()]
    return [
        Fault(_name(override), one, f"must be one of {', '.join(members)}{suggestion(str(one), members)}")
        for one in chosen
        if one not in members and "${" not in str(one)
    ]


def _asks_for_a_sweep(given: Namespace) -> bool:
    """Return whether a command asks for a sweep: by ``-m``, or by ``hydra.mode``, which a config may set as well. What
    only the composed config says of a command without several values is found when it is composed."""
    from hydra.types import RunMode

    if given.multirun:
        return True
    read = [one for one in (_understood(argument, True, []) for argument in given.overrides) if one is not None]
    if not any(one.is_sweep_override() or one.key_or_group == "hydra.mode" for one in read):
        return False
    with hydra_session(given) as hydra:
        return bool(hydra.get_mode(root_config_name(given), [one.input_line for one in read]) is RunMode.MULTIRUN)


def _with_sweeper_params(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep, with what ``hydra.sweeper.params`` says written out: as assignments, unless there is
    one of that key. Of the command line Hydra itself does not take it, since it is null by default."""
    params: dict[str, Any] = {}
    others = []
    for argument in overrides:
        override = _understood(argument, True, [])
        key, _, below = (override.key_or_group if override else argument).partition(_SWEEPER_PARAMS)
        value = (_value(override) if override.is_sweep_override() else override.value()) if override else None
        if key == "" and below:
            params[below.lstrip(".")] = value
        elif key == "" and isinstance(value, dict):
            params |= value
        else:
            others.append(argument)
    return _joined(params, others)


def _joined(params: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    names = {override.lstrip("+~").partition("=")[0] for override in overrides}
    added = {key: value for key, value in params.items() if key.lstrip("+~") not in names}
    return [
        *(f"{key}={value if isinstance(value, str) else command_line_value(value)}" for key, value in added.items()),
        *overrides,
    ]


def _composed(arguments: Sequence[str]) -> tuple[list[str], list[ComposedJob], list[Fault]]:
    """The arguments with a sweep that the configs ask for written out, every job that is sound, and the faults."""
    from hydra.errors import HydraException

    from stc.config.composition import plan_composed_config

    given = parse_arguments(arguments)
    faults: dict[str, Fault] = {}
    found: list[ComposedJob] = []
    methods: dict[tuple[str, str], object] = {}
    with hydra_session(given) as hydra:
        try:
            wanted = expand_jobs(arguments, hydra.config_loader)
        except HydraException as error:
            return list(arguments), [], [_refused(error, given.overrides)]
        if not wanted:
            faults[""] = Fault("-m", " ".join(given.overrides), "comes to no job")
        for job in wanted:
            try:
                config = _compose(job, given)
            except Exception as error:  # by Hydra or OmegaConf, which raise whatever a config makes them
                fault = _refused(error, job)
                faults.setdefault(str(fault), fault)
                continue
            try:
                if job is wanted[0] and (spelled_out := _written_out(config.hydra, given)):
                    break
                found.append(ComposedJob(job, config, plan_composed_config(config, given, methods)))
            except ConfigError as error:
                told = [fault.about(list(map(_place, job))) for fault in error.faults]
                faults.update({str(fault): fault for fault in told})
        else:
            return list(arguments), found, list(faults.values())
    return _composed(spelled_out)


def _compose(job: Sequence[str], given: Namespace) -> DictConfig:
    from hydra import compose

    sound = [
        one for one in job if not one.lstrip("+~").startswith("hydra") or one.lstrip("+").startswith(_COMPOSED_WITH)
    ]
    return compose(root_config_name(given), sound, return_hydra_config=True)


def _written_out(hydra: DictConfig, given: Namespace) -> list[str] | None:
    """The arguments with what the configs say of the sweep: that it is one, and over which values besides. None if
    that is there already."""
    from hydra.types import RunMode

    sweep = given.multirun or hydra.mode is RunMode.MULTIRUN
    params = hydra.sweeper.get("params") or {} if sweep else {}
    overrides = _joined(params, given.overrides)
    if overrides == given.overrides and sweep == given.multirun:
        return None
    given.multirun = sweep
    return format_arguments(given, overrides)


def _place(override: str) -> str:
    """Where in the config an override has its effect."""
    key = override.lstrip("+~").partition("=")[0]
    return key.partition("@")[2] or key


def _refused(error: Exception, overrides: Sequence[str]) -> Fault:
    """What Hydra does not take, of the override that it names."""
    lines = f"{error}\n{error.__cause__ or ''}".splitlines()
    said = " ".join(line.strip() for line in lines if line.strip())
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if override.lstrip("+") in said or f"'{key}'" in said or f"'{key}/" in said:
            return Fault(key, value, said)
    return Fault(" ".join(override.lstrip("+") for override in overrides), "", said)

"""Every job of a command, composed by Hydra and validated. All faults of all jobs are reported together.

What only Hydra knows of a config is checked here: the chosen members of the groups, and the folders of the run. The
rest is checked by :func:`stc.config.plan.make_plan`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hydra import compose
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from stc.config.hydra_arguments import (
    add_sweeper_params,
    config_groups,
    format_arguments,
    hydra_session,
    parse_arguments,
    root_config_name,
)
from stc.config.override_checks import expand_jobs
from stc.config.plan import Plan, make_plan
from stc.errors import ConfigError, Fault, suggestion
from stc.store.location import run_folder_conflict
from stc.system.paths import expand_home

_COMPOSED_WITH = (
    "hydra.searchpath", "hydra.mode", "hydra/sweeper", "hydra.sweeper", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
"""Hydra's own settings that decide which jobs there are, what is in them, and which folders they get."""

_METHOD_GROUPS = ("prune", "quant")
"""Groups whose members have the keys of their method, and may have stages of their own."""


class ComposedJob(NamedTuple):
    """A job of a command: its overrides, the config composed of them, and the plan made of the config."""

    overrides: list[str]
    config: DictConfig
    plan: Plan


def validate_jobs(arguments: Sequence[str]) -> tuple[list[str], list[ComposedJob]]:
    """Compose and validate every job before the first of them starts.

    Returns:
        the arguments, in which a sweep that the configs ask for is written out, and the jobs.

    Raises:
        ConfigError: with the faults of all jobs, each once.
    """
    settled, jobs, faults = _compose_all(arguments)
    if faults:
        raise ConfigError(faults)
    return settled, jobs


def compose_jobs(arguments: Sequence[str]) -> list[ComposedJob]:
    """Return every job; raises as :func:`validate_jobs`."""
    return validate_jobs(arguments)[1]


def composition_faults(arguments: Sequence[str]) -> list[Fault]:
    """Return the faults of all jobs, each once."""
    return _compose_all(arguments)[2]


def _compose_all(arguments: Sequence[str]) -> tuple[list[str], list[ComposedJob], list[Fault]]:
    options = parse_arguments(arguments)
    faults: dict[str, Fault] = {}
    jobs: list[ComposedJob] = []
    methods: dict[tuple[str, str], object] = {}
    with hydra_session(options) as hydra:
        try:
            expanded = expand_jobs(arguments, hydra.config_loader)
        except HydraException as error:
            return list(arguments), [], [_hydra_fault(error, options.overrides)]
        if not expanded:
            faults[""] = Fault("-m", " ".join(options.overrides), "gives no job")
        for overrides in expanded:
            try:
                config = _compose(overrides, options)
            except Exception as error:  # by Hydra or OmegaConf, which raise whatever a config makes them
                fault = _hydra_fault(error, overrides)
                faults.setdefault(str(fault), fault)
                continue
            if overrides is expanded[0] and (sweep := _sweep_of_config(config.hydra, options)):
                break
            try:
                jobs.append(ComposedJob(overrides, config, _plan_config(config, options, methods)))
            except ConfigError as error:
                about = [fault.about(list(map(_place, overrides))) for fault in error.faults]
                faults.update({str(fault): fault for fault in about})
        else:
            return list(arguments), jobs, list(faults.values())
    return _compose_all(sweep)  # outside the block: Hydra is initialized once at a time


def _compose(overrides: Sequence[str], options: Namespace) -> DictConfig:
    def is_used(override: str) -> bool:
        return not override.lstrip("+~").startswith("hydra") or override.lstrip("+").startswith(_COMPOSED_WITH)

    used = [override for override in overrides if is_used(override)]
    return compose(root_config_name(options), used, return_hydra_config=True)


def _sweep_of_config(hydra: DictConfig, options: Namespace) -> list[str] | None:
    """Return the arguments with the sweep that the configs ask for, and its values, written out; None if the arguments
    have all that already."""
    sweep = options.multirun or hydra.mode is RunMode.MULTIRUN
    params = hydra.sweeper.get("params") or {} if sweep else {}
    overrides = add_sweeper_params(params, options.overrides)
    if overrides == options.overrides and sweep == options.multirun:
        return None
    options.multirun = sweep
    return format_arguments(options, overrides)


def _place(override: str) -> str:
    """Return the key at which an override has its effect."""
    key = override.lstrip("+~").partition("=")[0]
    return key.partition("@")[2] or key


def _hydra_fault(error: Exception, overrides: Sequence[str]) -> Fault:
    """Return Hydra's error as a fault of the override that it names."""
    lines = f"{error}\n{error.__cause__ or ''}".splitlines()
    message = " ".join(line.strip() for line in lines if line.strip())
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if override.lstrip("+") in message or f"'{key}'" in message or f"'{key}/" in message:
            return Fault(key, value, message)
    return Fault(" ".join(override.lstrip("+") for override in overrides), "", message)


def _plan_config(config: DictConfig, options: Namespace, methods: dict[tuple[str, str], object]) -> Plan:
    """Return the plan of a config, from which the settings of Hydra are removed.

    Raises:
        ConfigError: with every fault of it.
    """
    other_methods = _methods_of_other_members(config, options, methods)
    faults = [*other_methods.values(), *_store_folder_faults(config, bool(options.multirun))]
    with open_dict(config):
        del config["hydra"]
    try:
        plan = make_plan(config)
    except ConfigError as error:
        faults += [fault for fault in error.faults if fault.key.partition(".")[0] not in other_methods]
        raise ConfigError(faults) from None
    if faults:
        raise ConfigError(faults)
    return plan


def _methods_of_other_members(
    config: DictConfig, options: Namespace, methods: dict[tuple[str, str], object]
) -> dict[str, Fault]:
    """Return a fault for each group whose method is not that of the chosen member. The config gets the member's method,
    so that nothing else is checked against the other one.

    Args:
        methods: the methods of members that are known already; this function adds to it.
    """
    faults = {}
    for group, member in ((group, config.hydra.runtime.choices.get(group)) for group in _METHOD_GROUPS):
        method = None
        with suppress(OmegaConfBaseException):  # reported with the other settings
            method = OmegaConf.select(config, f"{group}.method")
        if not member or method in (None, member):
            continue
        if (group, member) not in methods:
            search_path = [one for one in options.overrides if one.lstrip("+").startswith("hydra.searchpath")]
            chosen = compose(root_config_name(options), [*search_path, f"{group}={member}"])[group]
            methods[group, member] = chosen.get("method")
        if method != methods[group, member]:
            members = config_groups(options)[group]
            choice, near = (method, "") if method in members else ("MEMBER", suggestion(str(method), members))
            allowed = f"a method is chosen by its group: {group}={choice}, one of {', '.join(members)}{near}"
            faults[group] = Fault(f"{group}.method", method, allowed)
            config[group].method = methods[group, member]
    return faults


def _store_folder_faults(config: DictConfig, sweep: bool) -> list[Fault]:
    """Return a fault where the folder that Hydra makes for a run would keep the store's folder from becoming one."""
    try:
        store = OmegaConf.select(config, "store.dir")
        output = config.hydra.sweep.dir if sweep else config.hydra.run.dir
    except OmegaConfBaseException:  # the first is reported with the other settings, the second is known in a job only
        return []
    if not isinstance(store, str) or not store.strip():
        return []
    why = run_folder_conflict(Path(expand_home(store)), Path(output))
    return [Fault("store.dir", store, why)] if why else []

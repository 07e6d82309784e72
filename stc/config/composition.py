"""From a config as Hydra composes it to a plan: judged here is what Hydra alone knows of it, the members chosen of the
groups and the folders of the run; all else by :mod:`stc.config`."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from stc.config.hydra_arguments import config_groups, root_config_name
from stc.config.schema import Plan, make_plan
from stc.errors import ConfigError, Fault, suggestion
from stc.store.location import run_folder_conflict
from stc.system.paths import expand_home

_WITH_METHODS = ("prune", "quant")
"""Groups of which a member has the keys of its method, and may have stages of its own."""


def plan_composed_config(config: DictConfig, given: Namespace, methods: dict[tuple[str, str], object]) -> Plan:
    """What a config comes to, which is rid of what it has for Hydra alone.

    Raises:
        ConfigError: with every fault of it.
    """
    mistaken = _other_methods(config, given, methods)
    faults = [*mistaken.values(), *_store_in_the_way(config, bool(given.multirun))]
    with open_dict(config):
        del config["hydra"]
    try:
        found = make_plan(config)
    except ConfigError as error:
        faults += [fault for fault in error.faults if fault.key.partition(".")[0] not in mistaken]
        raise ConfigError(faults) from None
    if faults:
        raise ConfigError(faults)
    return found


def _other_methods(config: DictConfig, given: Namespace, methods: dict[tuple[str, str], object]) -> dict[str, Fault]:
    """A fault for each group whose method is not that of the member chosen; the config gets the latter, so that
    nothing else is judged by the former.

    Args:
        methods: the method of a group's member, as far as it is known; added to.
    """
    faults = {}
    for group, member in ((group, config.hydra.runtime.choices.get(group)) for group in _WITH_METHODS):
        method = None
        with suppress(OmegaConfBaseException):  # which is told with the other settings
            method = OmegaConf.select(config, f"{group}.method")
        if not member or method in (None, member):
            continue
        if (group, member) not in methods:
            searched = [one for one in given.overrides if one.lstrip("+").startswith("hydra.searchpath")]
            methods[group, member] = compose(root_config_name(given), [*searched, f"{group}={member}"])[group].get(
                "method"
            )
        if method != methods[group, member]:
            members = config_groups(given)[group]
            choice, near = (method, "") if method in members else ("MEMBER", suggestion(str(method), members))
            allowed = f"a method is chosen by its group: {group}={choice}, one of {', '.join(members)}{near}"
            faults[group] = Fault(f"{group}.method", method, allowed)
            config[group].method = methods[group, member]
    return faults


def _store_in_the_way(config: DictConfig, sweep: bool) -> list[Fault]:
    """A fault where the folder that Hydra makes for a run would keep the store's folder from becoming one."""
    try:
        store = OmegaConf.select(config, "store.dir")
        output = config.hydra.sweep.dir if sweep else config.hydra.run.dir
    except OmegaConfBaseException:  # the first is told with the other settings, the second is known when a job runs
        return []
    if not isinstance(store, str) or not store.strip():
        return []
    why = run_folder_conflict(Path(expand_home(store)), Path(output))
    return [Fault("store.dir", store, why)] if why else []

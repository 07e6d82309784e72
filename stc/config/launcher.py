"""Checks of Hydra's own settings, above all those of a sweep's launcher, before Hydra reads them.

Whether they are valid depends on Hydra's packages only. Whether this machine can use the launcher is asked when the
sweep starts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from stc.config.override_values import value_text
from stc.errors import Fault, first_line, suggestion
from stc.system.gpu import visible_gpus
from stc.system.paths import CONF

_LAUNCHER = "hydra/launcher"
_JOBS_AT_ONCE = "hydra.launcher.n_jobs"
_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "submitit_local": "hydra-submitit-launcher",
}


def launcher_faults(overrides: Sequence[Override], sweep: bool) -> list[Fault]:
    """Return the faults of those overrides that are Hydra's own settings.

    Args:
        sweep: whether they are for a sweep; without one, Hydra ignores a launcher.
    """
    own = _hydra_settings(overrides)
    launcher = next((one for key, one in own.items() if key.replace(".", "/").startswith(_LAUNCHER)), None)
    if launcher is not None and not sweep:
        return [_fault(launcher, "is for sweeps; -m makes a sweep, also of a single run")]
    package = _PACKAGES.get(value_text(own[_LAUNCHER])) if _LAUNCHER in own else None
    if package and not is_installed(package):  # without it, Hydra does not know the launcher's settings
        return [_fault(own[_LAUNCHER], f"needs the package {package}: pip install {package}")]
    return _setting_faults(list(own.values())) if own else []


def missing_requirements(overrides: Sequence[Override]) -> list[Fault]:
    """Return what the chosen launcher needs and this machine does not have."""
    own = _hydra_settings(overrides)
    launcher = value_text(own[_LAUNCHER]) if _LAUNCHER in own else None
    if launcher in ("slurm", "submitit_slurm") and not shutil.which("sbatch"):
        wrong = "SLURM's commands (sbatch) are not on PATH; start the sweep on a machine that submits to SLURM"
    elif launcher == "joblib" and _JOBS_AT_ONCE not in own and not visible_gpus():
        wrong = f"runs one job on each GPU, and this machine has none; {_JOBS_AT_ONCE}=2 runs two jobs at once"
    else:
        return []
    return [_fault(own[_LAUNCHER], wrong)]


def default_arguments(overrides: Sequence[Override]) -> list[str]:
    """Return the arguments to add: with joblib, as many jobs at once as have GPUs, unless the number is given.

    Without a GPU nothing is added, and :func:`missing_requirements` reports that the number is missing.
    """
    values = {one.key_or_group: value_text(one) for one in overrides}
    gpus = len(visible_gpus()) if values.get(_LAUNCHER) == "joblib" and _JOBS_AT_ONCE not in values else 0
    processes = values.get("resources.processes", "1")
    gpus_of_job = max(1, int(processes)) if processes.isdigit() else 1  # nobody sweeps over this number
    return [f"{_JOBS_AT_ONCE}={max(1, gpus // gpus_of_job)}"] if gpus else []


def is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _hydra_settings(overrides: Sequence[Override]) -> dict[str, Override]:
    return {one.key_or_group: one for one in overrides if one.key_or_group.startswith(("hydra/", "hydra."))}


def _setting_faults(settings: Sequence[Override]) -> list[Fault]:
    """Return a fault for every member and key that Hydra does not know, with the nearest that it does. Without such
    faults, return one for every value that it does not accept."""
    choices = [one for one in settings if "/" in one.key_or_group]
    assignments = [one for one in settings if one not in choices]
    groups = [one.input_line or "" for one in choices]

    def refusal(overrides: Sequence[Override]) -> str | None:
        try:
            compose("config", [*groups, *(one.input_line or "" for one in overrides)], return_hydra_config=True)
        except Exception as error:  # by Hydra or OmegaConf, which raise whatever a value makes them
            return first_line(error.__cause__ or error)
        return None

    with initialize_config_dir(str(CONF), version_base=None):
        if refusal(assignments) is None:
            return []
        if found := _choice_faults(choices):
            return found
        hydra = compose("config", groups, return_hydra_config=True).hydra
        unknown = {
            one.key_or_group: _unknown_key(hydra, one.key_or_group)
            for one in assignments
            if not (one.is_add() or one.is_delete())
        }
        for one in assignments:
            if unknown.get(one.key_or_group) is None:
                unknown[one.key_or_group] = refusal([one])
        return [_fault(one, wrong) for one in assignments if (wrong := unknown[one.key_or_group]) is not None]


def _choice_faults(choices: Sequence[Override]) -> list[Fault]:
    loader = GlobalHydra.instance().config_loader()
    found = []
    for one in choices:
        members = loader.get_group_options(one.key_or_group)
        if not members:
            groups = [f"hydra/{name}" for name in loader.list_groups("hydra")]
            near = suggestion(one.key_or_group, groups)
            found.append(_fault(one, f"no such group; Hydra has {', '.join(groups)}{near}"))
        elif value_text(one) not in members and not one.is_delete():
            near = suggestion(value_text(one), members)
            found.append(_fault(one, f"must be one of {', '.join(members)}{near}"))
    return found


def _unknown_key(hydra: Any, key: str) -> str | None:
    """Return what is wrong with a key that is not in Hydra's config."""
    node, path, *parts = hydra, *key.split(".")
    for part in parts:
        if not isinstance(node, DictConfig):
            return None  # Hydra itself says what is wrong
        known = [str(name) for name in node.keys() if name != "_target_"]  # noqa: SIM118, iterating leaves out ???
        if part not in known:
            more = f"; +{key} adds one" if OmegaConf.get_type(node) is dict else ""
            return f"no such key; {path} has {', '.join(known) or 'none'}{suggestion(part, known)}{more}"
        node, path = node._get_node(part), f"{path}.{part}"
    return None


def _fault(override: Override, allowed: str) -> Fault:
    return Fault(override.key_or_group, value_text(override), allowed)

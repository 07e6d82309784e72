"""Settings of Hydra's own, what a sweep is launched by above all: checked before Hydra sees them.

Whether they are valid rests on no more than Hydra's packages. Whether this machine can launch by them is asked when
the sweep starts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from hydra.core.override_parser.types import Override

from stc.errors import Fault, first_line, suggestion
from stc.system.gpu import visible_gpus

_LAUNCHER = "hydra/launcher"
_SIDE_BY_SIDE = "hydra.launcher.n_jobs"
_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "submitit_local": "hydra-submitit-launcher",
}


def launcher_faults(overrides: Sequence[Override], sweeping: bool) -> list[Fault]:
    """What is wrong with those of the overrides that are Hydra's own.

    Args:
        sweeping: whether they are for a sweep; without one, Hydra takes no notice of a launcher.
    """
    own = _own(overrides)
    launcher = next((one for key, one in own.items() if key.replace(".", "/").startswith(_LAUNCHER)), None)
    if launcher is not None and not sweeping:
        return [_fault(launcher, "is for sweeps; -m makes a sweep, also of a single run")]
    package = _PACKAGES.get(_value(own[_LAUNCHER])) if _LAUNCHER in own else None
    if package and not _installed(package):  # Hydra has no settings of a launcher without it
        return [_fault(own[_LAUNCHER], f"needs the package {package}: pip install {package}")]
    return _unknown(list(own.values())) if own else []


def missing_requirements(overrides: Sequence[Override]) -> list[Fault]:
    """What the chosen launcher needs and does not find on this machine."""
    own = _own(overrides)
    launcher = _value(own[_LAUNCHER]) if _LAUNCHER in own else None
    if launcher in ("slurm", "submitit_slurm") and not shutil.which("sbatch"):
        wrong = "SLURM's commands (sbatch) are not on PATH; start the sweep on a machine that submits to SLURM"
    elif launcher == "joblib" and _SIDE_BY_SIDE not in own and not visible_gpus():
        wrong = f"runs a job on each GPU, and none is here; {_SIDE_BY_SIDE}=2 runs two side by side"
    else:
        return []
    return [_fault(own[_LAUNCHER], wrong)]


def default_arguments(overrides: Sequence[Override]) -> list[str]:
    """What is to be added to the arguments: as many jobs side by side as have GPUs, where nothing says how many.
    Without a GPU it is nothing, and :func:`missing_requirements` says that the number is missing."""
    values = {one.key_or_group: _value(one) for one in overrides}
    gpus = len(visible_gpus()) if values.get(_LAUNCHER) == "joblib" and _SIDE_BY_SIDE not in values else 0
    processes = values.get("resources.processes", "1")
    each = max(1, int(processes)) if processes.isdigit() else 1  # of a job; over several numbers nobody sweeps
    return [f"{_SIDE_BY_SIDE}={max(1, gpus // each)}"] if gpus else []


def _own(overrides: Sequence[Override]) -> dict[str, Override]:
    return {one.key_or_group: one for one in overrides if one.key_or_group.startswith(("hydra/", "hydra."))}


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _unknown(own: Sequence[Override]) -> list[Fault]:
    """Every member and key that Hydra does not know, with the nearest it does, or else every value it does not take."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from stc.system.paths import CONF

    chosen = [one for one in own if "/" in one.key_or_group]
    assigned = [one for one in own if one not in chosen]
    with initialize_config_dir(str(CONF), version_base=None):
        loader = GlobalHydra.instance().config_loader()
        found = []
        for one in chosen:
            known = loader.get_group_options(one.key_or_group)
            if not known:
                groups = [f"hydra/{name}" for name in loader.list_groups("hydra")]
                near = suggestion(one.key_or_group, groups)
                found.append(_fault(one, f"no such group; Hydra has {', '.join(groups)}{near}"))
            elif _value(one) not in known and not one.is_delete():
                found.append(_fault(one, f"must be one of {', '.join(known)}{suggestion(_value(one), known)}"))
        if found:
            return found
        groups = [one.input_line or "" for one in chosen]
        hydra = compose("config", groups, return_hydra_config=True).hydra

        def refused(those: Sequence[Override]) -> str | None:
            try:
                compose("config", [*groups, *(each.input_line or "" for each in those)], return_hydra_config=True)
            except Exception as error:  # by Hydra or OmegaConf, which raise whatever a value makes them
                return first_line(error.__cause__ or error)
            return None

        told = {id(one): _no_such(hydra, one.key_or_group) for one in assigned if not (one.is_add() or one.is_delete())}
        valid = [one for one in assigned if told.get(id(one)) is None]
        if valid and refused(valid):  # composing takes a while: each by itself only where something is wrong
            told |= {id(one): refused([one]) for one in valid}
        found = [_fault(one, wrong) for one in assigned if (wrong := told.get(id(one))) is not None]
    return found


def _no_such(hydra: Any, key: str) -> str | None:
    """What is wrong with a key that is not in Hydra's config."""
    from omegaconf import DictConfig, OmegaConf

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
    return Fault(override.key_or_group, _value(override), allowed)


def _value(override: Override) -> str:
    return (override.input_line or "").partition("=")[2]

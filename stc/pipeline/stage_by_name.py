"""Stages by name: a file of ``stc/stages`` or of a pruning method, or a module of anybody's by its dotted path."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from stc.pipeline.stage import Stage
from stc.system.extensions import class_by_name, module_names


def stage_names() -> list[str]:
    """Return the names of the stages that ship."""
    return sorted([*module_names("stc.stages"), *_of_methods()])


@cache
def _of_methods() -> dict[str, type[Stage]]:
    """Return the stages that choose layers, by name: each is in the file of its pruning method."""
    modules = [import_module(f"stc.pruning.{name}") for name in module_names("stc.pruning")]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    return {one.NAME: one for one in found if issubclass(one, Stage) and one.NAME}


def stage_class(name: str) -> type[Stage]:
    """Return the stage of that name.

    Args:
        name: as in YAML: ``finetune``, or ``talks.stages.pretrain``.

    Raises:
        ConfigError: there is no such stage.
    """
    return _of_methods().get(name) or class_by_name("stc.stages", name, Stage, "stage")

"""The class of a stage by its name: a file of ``stc/stages`` or of a pruning method, or the dotted path of a module."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from stc.pipeline.stage import Stage
from stc.system.extension_lookup import class_by_name, module_names


def stage_names() -> list[str]:
    """Return the names of stc's own stages."""
    return sorted([*module_names("stc.stages"), *_pruning_stages()])


@cache
def _pruning_stages() -> dict[str, type[Stage]]:
    modules = [import_module(f"stc.pruning.{name}") for name in module_names("stc.pruning")]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    return {one.NAME: one for one in found if issubclass(one, Stage) and one.NAME}


def stage_class(name: str) -> type[Stage]:
    """Return the stage with a name as in YAML: ``finetune``, or ``talks.stages.pretrain``.

    Raises:
        ConfigError: there is no such stage.
    """
    return _pruning_stages().get(name) or class_by_name("stc.stages", name, Stage, "stage")

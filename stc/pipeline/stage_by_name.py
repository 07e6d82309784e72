"""Stages by name: those of ``stc/stages``, a file each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from stc.errors import ConfigError, Fault, nearest
from stc.pipeline.stage import Stage

FOLDER = Path(__file__).parents[1] / "stages"


def stage_names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def stage_class(name: str) -> type[Stage]:
    """The stage of a file in ``stc/stages``, whose class is the file's name in CamelCase.

    Raises:
        ConfigError: there is no such stage.
    """
    if name not in stage_names():
        allowed = f"stages are {', '.join(stage_names())}{nearest(name, stage_names())}"
        raise ConfigError([Fault("stage", name, allowed)])
    module = import_module(f"stc.stages.{name}")
    found: type[Stage] = getattr(module, "".join(word.capitalize() for word in name.split("_")))
    return found

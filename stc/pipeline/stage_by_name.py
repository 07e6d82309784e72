"""Stages by name: a file of ``stc/stages``, or a module of anybody's package by its dotted path."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from stc.errors import ConfigError, Fault, nearest
from stc.pipeline.stage import Stage
from stc.system.paths import ROOT

FOLDER = Path(__file__).parents[1] / "stages"


def stage_names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def stage_class(name: str) -> type[Stage]:
    """Return the stage of a module, whose class is the module's name in CamelCase.

    Args:
        name: of a file in ``stc/stages`` (``finetune``), or the dotted path of a module (``talks.stages.pretrain``),
            which is looked for where Python looks and in the folder that ``conf/`` is in.

    Raises:
        ConfigError: there is no such stage.
    """
    if "." in name:
        return _in_module(_module(name), name)
    if name not in stage_names():
        allowed = f"stages are {', '.join(stage_names())}{nearest(name, stage_names())}; PACKAGE.MODULE is one of yours"
        raise ConfigError([Fault("stage", name, allowed)])
    return _in_module(import_module(f"stc.stages.{name}"), name)


def _module(path: str) -> ModuleType:
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # what it imports is missing
        raise ConfigError([Fault("stage", path, f"there is no module {error.name}")]) from None


def _in_module(module: ModuleType, name: str) -> type[Stage]:
    title = "".join(word.capitalize() for word in name.rpartition(".")[2].split("_"))
    found = getattr(module, title, None)
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise ConfigError([Fault("stage", name, f"its module must have a class {title}, a stage of stc")])
    return found

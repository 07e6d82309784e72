"""Models: what stc knows of each family, and loading, saving and changing them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stc.errors import ModelError, suggestion
from stc.models.architecture import Architecture
from stc.system.read_files import read_json, validate_shape


def families() -> list[str]:
    """Return the model types that stc handles: the modules of this package that define an ``ARCHITECTURE``."""
    files = [file for folder in __path__ for file in Path(folder).glob("*.py")]
    return sorted(file.stem for file in files if "\nARCHITECTURE" in file.read_text("utf-8"))


def architecture(model_type: str) -> Architecture:
    """Return the facts of a model family.

    Raises:
        ModelError: stc does not handle the family.
    """
    if model_type not in (known := families()):
        raise ModelError(f"model_type {model_type!r} is not handled: {', '.join(known)}{suggestion(model_type, known)}")
    found: Architecture = import_module(f"stc.models.{model_type}").ARCHITECTURE
    return found


class _CommonFields(BaseModel):
    """The fields that stc checks in every config.json, whatever the family."""

    model_type: str
    quantization_config: dict[str, Any] | None = None
    transformers_weights: None = None  # a value would make transformers load a file of another name


def read_config(folder: Path) -> dict[str, Any]:
    """Return the parsed and checked config.json of a model folder.

    Raises:
        ModelError: the folder or the file is missing, the file is not JSON, or :func:`checked_config` refuses it.
    """
    path = folder / "config.json"
    try:
        config = read_json(path, dict[str, Any], error=ModelError)
    except FileNotFoundError:
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise ModelError(f"{folder} {what}: a model is a Hugging Face folder") from None
    return checked_config(config, str(path))


def describe_depth(folder: Path) -> str:
    """Return a model by its number of decoder layers, in words: ``8-layer model``. Raises as :func:`read_config`."""
    config = read_config(folder)
    return f"{architecture(config['model_type']).layers(config)['decoder']}-layer model"


def checked_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a parsed config.json after its family has checked it.

    Args:
        where: the file, for error messages.

    Raises:
        ModelError: stc does not handle the family, or no model of the family can have these values.
    """
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{where} says no model_type: one of {', '.join(families())} is needed")
    validate_shape(config, where, _CommonFields, error=ModelError)
    architecture(config["model_type"]).check(config, where)
    return config

"""Models: what stc knows of each family, and loading, saving and changing them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from stc.errors import ModelError, nearest
from stc.models.architecture import Architecture

FAMILIES = tuple(
    sorted(file.stem for file in Path(__file__).parent.glob("*.py") if "\nARCHITECTURE" in file.read_text("utf-8"))
)
"""Model types stc handles: the modules of this package that define an ``ARCHITECTURE``."""


def architecture(model_type: str) -> Architecture:
    """The facts of a model family.

    Raises:
        ModelError: the family is not one stc handles.
    """
    if model_type not in FAMILIES:
        raise ModelError(
            f"model_type {model_type!r} is not handled: {', '.join(FAMILIES)}{nearest(model_type, FAMILIES)}"
        )
    found: Architecture = import_module(f"stc.models.{model_type}").ARCHITECTURE
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of a model folder.

    Raises:
        ModelError: the folder or the file is missing, is not JSON, or says no ``model_type``.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise ModelError(f"{folder} {what}: a model is a Hugging Face folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path} says no model_type: one of {', '.join(FAMILIES)} is needed")
    return config

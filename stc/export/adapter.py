"""Adapter folders as peft writes them: their base, whether they fit it, and merging them into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stc.errors import InputError, ModelError
from stc.export.source import Source
from stc.models import read_config
from stc.models.weights import ADAPTER_CONFIG, adapter_tensors
from stc.quantization import stored_with
from stc.stage import Kind

BASE = "base_model_name_or_path"


def base_folder(source: Source, named: str | None) -> Path:
    """The folder of an adapter's base: by the store, or by what the adapter or the user says; a hub id is fetched.

    Raises:
        InputError: nobody says what the base is.
        ModelError: adapter_config.json is damaged, the weights are missing, or the base is quantized.
    """
    said = _config(source.folder).get(BASE)
    adapter_tensors(source.folder)  # names what is missing or damaged
    base = _stored(source) or _found(said) or _found(named)
    if base is None:
        raise InputError(f"{source.folder}: {BASE} is {said!r}: --base-model NAME says which model it belongs on")
    if stored_with(read_config(base)) is not None:
        raise ModelError(f"{base} is quantized: an adapter goes on, and is merged into, the bfloat16 base")
    return base


def set_base(folder: Path, named: str | None) -> None:
    """Have an adapter name the base its users are to find.

    Raises:
        InputError: no name is given, and the adapter's own is a folder of this machine.
    """
    config = _config(folder)
    if named is None and (not config.get(BASE) or Path(config[BASE]).is_absolute()):
        raise InputError(
            f"the adapter's base is {config.get(BASE)!r}, which its users do not have: --base-model NAME says under "
            "which name they find it; --merged exports base and adapter as one model"
        )
    config[BASE] = named or config[BASE]
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def named_base(folder: Path) -> str | None:
    """The base an adapter names; None for a folder that is no adapter."""
    return _config(folder)[BASE] if (folder / ADAPTER_CONFIG).is_file() else None


def merge_into(base: Path, adapter: Path, out: Path, device: str) -> None:
    """Add an adapter to its base in bfloat16, and save the sum as a model folder, compared to the model in memory.

    Raises:
        ModelError: the adapter does not fit the base, or the folder is not what was saved.
    """
    from stc.models.adapters import merge
    from stc.models.checkpoint import load, save
    from stc.models.surgery import check_reload

    translator = load(base, device=device, dtype="bfloat16")
    merge(translator, adapter)
    save(translator, out)
    check_reload(translator, out)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    return config


def _stored(source: Source) -> Path | None:
    identity = source.record.get("spec", {}).get("inputs", {}).get("model")
    if source.store is None or identity is None:
        return None
    folder = source.store.path(Kind.MODEL, identity)
    return folder if folder.is_dir() else None


def _found(name: str | None) -> Path | None:
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_absolute() or name.count("/") != 1:
        return None
    from stc.pipeline import Hub

    return Hub(name).fetch()

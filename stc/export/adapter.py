"""Adapter folders as peft writes them: which base they belong on, for us and for those who get them."""

from __future__ import annotations

from pathlib import Path

from stc.errors import InputError, ModelError
from stc.export.source import ExportSource
from stc.models import read_config
from stc.models.adapters import BASE, name_base, stated
from stc.models.weights import ADAPTER_CONFIG, adapter_tensors
from stc.quantization import stored_with
from stc.store.artifact import Kind


def base_folder(source: ExportSource, named: str | None) -> Path:
    """The folder of an adapter's base: by the store, or by what the adapter or the user says; a hub id is fetched.

    Raises:
        InputError: nobody says what the base is.
        ModelError: adapter_config.json is damaged, the weights are missing, or the base is quantized.
    """
    said = stated(source.folder).get(BASE)
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
    config = stated(folder)
    if named is None and (not config.get(BASE) or Path(config[BASE]).is_absolute()):
        raise InputError(
            f"the adapter's base is {config.get(BASE)!r}, which its users do not have: --base-model NAME says under "
            "which name they find it; --merged exports base and adapter as one model"
        )
    name_base(folder, named or config[BASE])


def named_base(folder: Path) -> str | None:
    """The base an adapter names; None for a folder that is no adapter."""
    return stated(folder)[BASE] if (folder / ADAPTER_CONFIG).is_file() else None


def _stored(source: ExportSource) -> Path | None:
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
    from stc.models.hub import Hub

    return Hub(name).fetch(read_config)

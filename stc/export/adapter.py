"""Adapter folders as peft writes them: which base they belong on, for us and for those who get them."""

from __future__ import annotations

from pathlib import Path

from stc.errors import InputError, ModelError
from stc.export.source import ExportSource
from stc.models import read_config
from stc.models.adapters import BASE_MODEL_KEY, adapter_config, set_base_model_name
from stc.models.weights import ADAPTER_CONFIG, adapter_tensors
from stc.quantization import quantizer_of
from stc.store.artifact import Kind


def base_folder(source: ExportSource, named: str | None) -> Path:
    """The folder of an adapter's base: by the store, or by what the adapter or the user says; a hub id is fetched.

    Raises:
        InputError: nobody says what the base is.
        ModelError: adapter_config.json is damaged, the weights are missing, or the base is quantized.
    """
    said = adapter_config(source.folder).get(BASE_MODEL_KEY)
    adapter_tensors(source.folder)  # names what is missing or damaged
    base = _stored(source) or _found(said) or _found(named)
    if base is None:
        raise InputError(
            f"{source.folder}: {BASE_MODEL_KEY} is {said!r}: --base-model NAME says which model it belongs on"
        )
    if quantizer_of(read_config(base)) is not None:
        raise ModelError(f"{base} is quantized: an adapter goes on, and is merged into, the bfloat16 base")
    return base


def set_base(folder: Path, named: str | None) -> None:
    """Have an adapter name the base its users are to find.

    Raises:
        InputError: no name is given, and the adapter's own is a folder of this machine.
    """
    config = adapter_config(folder)
    if named is None and (not config.get(BASE_MODEL_KEY) or Path(config[BASE_MODEL_KEY]).is_absolute()):
        raise InputError(
            f"the adapter's base is {config.get(BASE_MODEL_KEY)!r}, which its users do not have: --base-model NAME "
            "says under which name they find it; --merged exports base and adapter as one model"
        )
    set_base_model_name(folder, named or config[BASE_MODEL_KEY])


def named_base(folder: Path) -> str | None:
    """The base an adapter names; None for a folder that is no adapter."""
    return adapter_config(folder)[BASE_MODEL_KEY] if (folder / ADAPTER_CONFIG).is_file() else None


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
    from stc.models.hub import HubModel

    return HubModel(name).fetch(read_config)

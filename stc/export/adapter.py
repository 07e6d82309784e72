"""Adapter folders as peft writes them: the base that they are for, here and on the machines of their users."""

from __future__ import annotations

from pathlib import Path

from stc.errors import InputError, ModelError
from stc.export.source import ExportSource
from stc.models import read_config
from stc.models.adapters import BASE_MODEL_KEY, adapter_config, set_base_model_name
from stc.models.weights import ADAPTER_CONFIG, adapter_tensors
from stc.quantization import quantizer_of
from stc.store.artifact import Kind


def base_folder(source: ExportSource, base_model: str | None) -> Path:
    """Return the folder of an adapter's base, by the store, the adapter's config or the user; a hub id is fetched.

    Raises:
        InputError: none of them names the base.
        ModelError: adapter_config.json is damaged, the weights are missing, or the base is quantized.
    """
    name = adapter_config(source.folder).get(BASE_MODEL_KEY)
    adapter_tensors(source.folder)  # raises an error that names what is missing or damaged
    base = _base_in_store(source) or _model_folder(name) or _model_folder(base_model)
    if base is None:
        raise InputError(
            f"{source.folder}: {BASE_MODEL_KEY} is {name!r}: name the model that it is for with --base-model NAME"
        )
    if quantizer_of(read_config(base)) is not None:
        raise ModelError(f"{base} is quantized: an adapter needs the bfloat16 base")
    return base


def set_base(folder: Path, base_model: str | None) -> None:
    """Write the name under which users find the base into an adapter's config.

    Raises:
        InputError: no name is given, and the adapter's own is a folder of this machine.
    """
    name = base_model or named_base(folder)
    if base_model is None and (not name or Path(name).is_absolute()):
        raise InputError(
            f"the adapter's base is {name!r}, which its users do not have: give the name under which they find it with "
            "--base-model NAME, or export base and adapter as one model with --merged"
        )
    set_base_model_name(folder, name)


def named_base(folder: Path) -> str | None:
    """Return the base that an adapter names; None for a folder that is no adapter."""
    return adapter_config(folder).get(BASE_MODEL_KEY) if (folder / ADAPTER_CONFIG).is_file() else None


def _base_in_store(source: ExportSource) -> Path | None:
    identity = source.model_input
    if source.store is None or identity is None:
        return None
    folder = source.store.path(Kind.MODEL, identity)
    return folder if folder.is_dir() else None


def _model_folder(name: str | None) -> Path | None:
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_absolute() or name.count("/") != 1:
        return None
    from stc.models.hub import HubModel

    return HubModel(name).fetch(read_config)

"""The weight files of a model folder and of an adapter, by their headers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from stc.errors import ModelError
from stc.system.read_files import read_json
from stc.system.safetensors_headers import Stored, tensors_of

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # peft's names
MAX_RANK = 2**16  # far above any useful rank of an adapter


def attached_adapter(folder: Path) -> Path | None:
    """Return the folder of the adapter that belongs to a model, inside the model's folder; None if there is none.

    Raises:
        ModelError: it is a link. Files behind it could change without the model's identity.
    """
    adapter = folder / "adapter"
    if adapter.is_symlink():
        raise ModelError(f"{adapter} is a link: an adapter that belongs to a model lies inside its folder")
    return adapter if adapter.is_dir() else None


class _AdapterConfig(BaseModel):
    peft_type: Literal["LORA"]
    r: int = Field(strict=True, ge=1, le=MAX_RANK)


def adapter_tensors(adapter: Path) -> dict[str, Stored]:
    """Return every tensor of an adapter's folder, by name.

    Raises:
        ModelError: a file is missing or damaged, the adapter is not LoRA, or the folder has further weights.
    """
    if missing := [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (adapter / name).is_file()]:
        raise ModelError(f"{adapter} lacks {first_few(missing)}")
    refuse_other_weights(adapter, {ADAPTER_WEIGHTS})
    read_json(adapter / ADAPTER_CONFIG, _AdapterConfig, error=ModelError)
    return tensors_of(adapter / ADAPTER_WEIGHTS)


def refuse_other_weights(folder: Path, known: Collection[str]) -> None:
    """Raise ModelError if a folder has safetensors files beside ``known``: it is then unclear which are the model."""
    if others := sorted({file.name for file in folder.glob("*.safetensors")} - set(known)):
        raise ModelError(
            f"{folder} has {first_few(others)} beside {first_few(sorted(known))}, which alone would be loaded: "
            "move what does not belong to the model elsewhere"
        )


def first_few(names: Iterable[str], shown: int = 5) -> str:
    """Return the first of many names, and how many more there are, for a message."""
    every = list(names)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more

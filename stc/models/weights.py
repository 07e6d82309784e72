"""The weights of a model's folder, and of an adapter's: which files they are in, by their headers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from stc.errors import ModelError
from stc.system.read_files import read_json
from stc.system.safetensors_headers import Stored, tensors_of

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as peft names them
MOST_RANK = 2**16  # of an adapter: far above any that is of use


def attached_adapter(folder: Path) -> Path | None:
    """Return the folder, inside a model's, of the low-rank adapter that belongs to the model; None where there is none.

    Raises:
        ModelError: it is a link, behind which files could change without the model's identity.
    """
    adapter = folder / "adapter"
    if adapter.is_symlink():
        raise ModelError(f"{adapter} is a link: an adapter that belongs to a model lies inside its folder")
    return adapter if adapter.is_dir() else None


class _AdapterConfig(BaseModel):
    peft_type: Literal["LORA"]
    r: int = Field(strict=True, ge=1, le=MOST_RANK)


def adapter_tensors(adapter: Path) -> dict[str, Stored]:
    """Return every tensor of an adapter's folder, by name.

    Raises:
        ModelError: a file is missing or damaged, is of another method, or there are further weights.
    """
    if missing := [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (adapter / name).is_file()]:
        raise ModelError(f"{adapter} lacks {first_few(missing)}")
    refuse_other_weights(adapter, {ADAPTER_WEIGHTS})
    read_json(adapter / ADAPTER_CONFIG, _AdapterConfig, error=ModelError)
    return tensors_of(adapter / ADAPTER_WEIGHTS)


def refuse_other_weights(folder: Path, known: Collection[str]) -> None:
    """Raise ModelError for weights in a folder beside those that are loaded: which are the model is then not clear."""
    if others := sorted({file.name for file in folder.glob("*.safetensors")} - set(known)):
        raise ModelError(
            f"{folder} has {first_few(others)} beside {first_few(sorted(known))}, which alone would be loaded: "
            "move what does not belong to the model elsewhere"
        )


def first_few(names: Iterable[str], shown: int = 5) -> str:
    """A few of many names, for a message."""
    every = list(names)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more

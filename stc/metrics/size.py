"""Bytes on disk."""

from __future__ import annotations

from pathlib import Path

from stc.errors import ModelError
from stc.models.weights import attached_adapter


def bytes_on_disk(folder: Path) -> int:
    """Bytes of a model's weights: its safetensors files together, its adapter's among them.

    Raises:
        ModelError: when there is none.
    """
    files = list(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} has no *.safetensors file")
    if adapter := attached_adapter(folder):
        files += adapter.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)

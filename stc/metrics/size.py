"""How large a model folder is, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stc.models.counting import counted
from stc.models.folder import ModelFolder


@dataclass(frozen=True)
class Size:
    """A model folder's layers, and the three figures of its size that hold on every machine."""

    decoder_layers: int
    encoder_layers: int
    parameters: int
    packed_elements: int
    bytes_on_disk: int


def size_of(folder: Path) -> Size:
    """
    Raises:
        ModelError: the folder is no model, or a damaged one.
    """
    model = ModelFolder.of(folder)
    counts, layers = counted(model), model.family.layers(model.config)
    return Size(
        decoder_layers=layers.get("decoder", 0),
        encoder_layers=layers.get("encoder", 0),
        parameters=counts.parameters,
        packed_elements=counts.packed_elements,
        bytes_on_disk=model.weight_bytes,
    )


def bytes_on_disk(folder: Path) -> int:
    """Bytes of a model's weights: the safetensors files that are loaded together, its adapter's among them.

    Raises:
        ModelError: the folder is no model, or a damaged one.
    """
    return ModelFolder.of(folder).weight_bytes

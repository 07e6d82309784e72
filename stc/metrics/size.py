"""How large a model folder is, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stc.errors import ModelError
from stc.models import architecture, read_config
from stc.models.counting import count_parameters
from stc.models.weights import attached_adapter


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
    config = read_config(folder)
    family = architecture(config["model_type"])
    counts = count_parameters(folder)
    return Size(
        decoder_layers=family.decoder_layers(config),
        encoder_layers=family.encoder_layers(config),
        parameters=counts.parameters,
        packed_elements=counts.packed_elements,
        bytes_on_disk=bytes_on_disk(folder),
    )


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

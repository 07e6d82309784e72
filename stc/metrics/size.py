"""The size of a model folder, read without loading the model."""

from __future__ import annotations

from pathlib import Path

from stc.metrics.score_files import Size
from stc.models.folder import ModelFolder


def size_of(folder: Path) -> Size:
    """Return the size of a model folder. Bytes are those of the safetensors files that are loaded, with adapters.

    Raises:
        ModelError: the folder is no model, or is damaged.
    """
    model = ModelFolder.of(folder)
    counts, layers = model.counts, model.family.layers(model.config)
    return Size(
        decoder_layers=layers.get("decoder", 0),
        encoder_layers=layers.get("encoder", 0),
        parameters=counts.parameters,
        packed_elements=counts.packed_elements,
        bytes_on_disk=model.weight_bytes,
    )

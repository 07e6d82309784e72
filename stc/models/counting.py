"""Model sizes, counted from the files of a folder. No weight is loaded, and torch is not imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from stc.models.folder import ModelFolder


@dataclass(frozen=True)
class ParameterCounts:
    """Two figures, which are equal for a model that is not quantized.

    Attributes:
        parameters: a packed weight counts with its shape before packing.
        packed_elements: elements of the weight tensors as stored: two 4-bit weights share one.
    """

    parameters: int
    packed_elements: int


def count_parameters(folder: Path) -> ParameterCounts:
    """Count a model folder; raises as :meth:`stc.models.folder.ModelFolder.of`."""
    return counted(ModelFolder.of(folder))


def counted(model: ModelFolder) -> ParameterCounts:
    """Count a model with the adapter that belongs to it. Tied weights are stored, and counted, once. Quantization state
    is not counted."""
    shapes = logical_shapes(model)
    adapter = sum(tensor.elements for tensor in model.adapted.values())
    return ParameterCounts(
        parameters=sum(map(math.prod, shapes.values())) + adapter,
        packed_elements=sum(model.tensors[name].elements for name in shapes) + adapter,
    )


def logical_shapes(model: ModelFolder) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of the model, by its name on disk; of a packed one, its shape before packing."""
    method, tensors = model.quantizer, model.tensors
    if method is None:
        return {name: tensor.shape for name, tensor in tensors.items()}
    return {name: method.logical_shape(name, tensors) for name in tensors if not method.is_state(name)}

"""A packed base, unpacked for as long as adapters are trained on it.

Its library unpacks a layer's matrix at every pass, twice a step. It is the same matrix each time, since the base is
frozen: unpacked once, a step computes with the very same numbers. In bfloat16 they take four times the memory of those
in 4 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stc.pipeline.stage import BoolOrAuto
from stc.quantization import quantizer_of
from stc.system.memory import free_memory
from stc.training.acceleration.module_swap import modules_replaced

SHARE = 0.5  # of the free memory that unpacked matrices may take unasked; the rest is for training


@contextmanager
def dequantized_base(model: Any, wanted: BoolOrAuto, device: str) -> Iterator[None]:
    """Inside, every packed linear layer computes with its matrix unpacked. Afterwards the packed ones are back.

    Args:
        model: of transformers, with adapters on it or without.
        wanted: ``auto``: if it takes no more than :data:`SHARE` of the free memory.
    """
    method = quantizer_of(model.config.to_dict())
    layers = {} if method is None else method.packed_layers(model)
    needed = sum(layer.in_features * layer.out_features for layer in layers.values()) * model.dtype.itemsize
    if method is None or not wanted or (wanted == "auto" and needed > SHARE * free_memory(device)):
        yield
        return
    with modules_replaced(model, layers, partial(DequantizedLinear, unpack=method.dequantize_layer, dtype=model.dtype)):
        yield


class DequantizedLinear(nn.Module):
    """What stands for a packed layer: the same product, of a matrix that is there already."""

    def __init__(self, packed: Any, unpack: Callable[[Any], Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(unpack(packed).to(dtype), requires_grad=False)
        self.bias = packed.bias if packed.bias is None else nn.Parameter(packed.bias.data.to(dtype), False)
        self.train(packed.training)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs.to(self.weight.dtype), self.weight, self.bias).to(inputs.dtype)

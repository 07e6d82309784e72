"""A quantized base that is dequantized once, while adapters are trained on it.

The quantization library dequantizes a layer's matrix in every pass, twice per step. The base is frozen, so the matrix
is always the same, and a step gets the same numbers if it is dequantized only once. In bfloat16 it takes four times the
memory of 4 bits.
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
from stc.training.acceleration import modules_replaced

SHARE = 0.5  # of the free memory that dequantized matrices may take with ``auto``; the rest is for training


@contextmanager
def dequantized_base(model: Any, enabled: BoolOrAuto, device: str) -> Iterator[None]:
    """Compute every quantized linear layer with its dequantized matrix inside the block.

    Args:
        model: of transformers, with or without adapters.
        enabled: ``auto`` means: if the matrices take no more than :data:`SHARE` of the free memory.
    """
    method = quantizer_of(model.config.to_dict())
    layers = {} if method is None else method.packed_layers(model)
    needed = sum(layer.in_features * layer.out_features for layer in layers.values()) * model.dtype.itemsize
    if method is None or not enabled or (enabled == "auto" and needed > SHARE * free_memory(device)):
        yield
        return
    with modules_replaced(model, layers, partial(DequantizedLinear, unpack=method.dequantize_layer, dtype=model.dtype)):
        yield


class DequantizedLinear(nn.Module):
    """The replacement of a quantized linear layer, with a dequantized matrix."""

    def __init__(self, packed: Any, unpack: Callable[[Any], Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(unpack(packed).to(dtype), requires_grad=False)
        self.bias = packed.bias if packed.bias is None else nn.Parameter(packed.bias.data.to(dtype), False)
        self.train(packed.training)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs.to(self.weight.dtype), self.weight, self.bias).to(inputs.dtype)

"""A base in 4 bits, unpacked for as long as adapters are trained on it.

bitsandbytes unpacks a layer's matrix at every pass, twice a step. It is the same matrix each time, since the base is
frozen: unpacked once, a step computes with the very same numbers. They take four times the memory of the packed ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stc.pipeline.stage import OrAuto
from stc.system.memory import free_memory
from stc.training.acceleration.module_swap import standing_in

SHARE = 0.5  # of the free memory that unpacked matrices may take unasked; the rest is for training


@contextmanager
def unpacked(model: nn.Module, wanted: OrAuto, device: str) -> Iterator[None]:
    """Inside, every linear layer in 4 bits computes with its matrix unpacked. Afterwards the packed ones are back.

    Args:
        model: with adapters on it or without.
        wanted: ``auto``: if it takes no more than :data:`SHARE` of the free memory.
    """
    layers = _packed_layers(model)
    needed = sum(_elements(layer) * _compute_dtype(layer).itemsize for layer in layers.values())
    if not layers or not wanted or (wanted == "auto" and needed > SHARE * free_memory(device)):
        yield
        return
    with standing_in(model, layers, Unpacked):
        yield


class Unpacked(nn.Module):
    """What stands for a ``Linear4bit`` of bitsandbytes: the same product, of a matrix that is there already."""

    def __init__(self, packed: Any) -> None:
        from bitsandbytes.functional import dequantize_4bit

        super().__init__()
        dtype = _compute_dtype(packed)
        weight = dequantize_4bit(packed.weight.data, packed.weight.quant_state).to(dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = packed.bias if packed.bias is None else nn.Parameter(packed.bias.data.to(dtype), False)
        self.train(packed.training)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs.to(self.weight.dtype), self.weight, self.bias).to(inputs.dtype)


def _packed_layers(model: nn.Module) -> dict[str, Any]:
    """By dotted name. bitsandbytes is not imported for a model that has none."""
    if "bitsandbytes" not in sys.modules:
        return {}
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def _elements(layer: Any) -> int:
    return int(layer.weight.quant_state.shape.numel())


def _compute_dtype(layer: Any) -> torch.dtype:
    found: torch.dtype = layer.compute_dtype or torch.float32
    return found

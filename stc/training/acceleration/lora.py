"""Adapters computed with fewer operations than in ``peft``, for training.

``peft`` casts each layer's input to the dtype of the factors and scales the wide result. This module casts the factors
and scales the narrow one. The result is the same, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stc.training.acceleration import modules_replaced


@contextmanager
def fast_adapters(wrapped: Any) -> Iterator[None]:
    """Compute every linear layer with an adapter by :class:`FastLoraLinear` inside the block.

    Args:
        wrapped: the ``peft`` wrapper of a model whose adapters are plain LoRA, with any scaling.
    """
    from peft.tuners.lora import LoraLayer

    adapted = {name: module for name, module in wrapped.named_modules() if isinstance(module, LoraLayer)}
    with modules_replaced(wrapped, adapted, FastLoraLinear):
        yield


class FastLoraLinear(nn.Module):
    """The replacement of a linear layer of ``peft``, with the same base and factors."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        (name,) = layer.active_adapters
        self.base = layer.base_layer
        self.down = layer.lora_A[name]
        self.up = layer.lora_B[name]
        self.dropout = layer.lora_dropout[name]
        self._scaling = float(layer.scaling[name])
        self.train(layer.training)

    def forward(self, inputs: Tensor) -> Tensor:
        kind = inputs.device.type
        if torch.is_autocast_enabled(kind):  # as autocast does for a plain base; a quantized one ignores it
            inputs = inputs.to(torch.get_autocast_dtype(kind))
        product: Tensor = self.base(inputs)
        down, up = (factor.weight.to(product.dtype) for factor in (self.down, self.up))
        narrow = functional.linear(self.dropout(inputs).to(product.dtype), down)
        return product + functional.linear(self._scaling * narrow, up)

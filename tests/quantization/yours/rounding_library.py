"""A quantizer's public library: it makes its method known to transformers, and knows nothing of stc."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin


class RoundedLinear(nn.Linear):
    """A linear layer with a byte a weight, and a scale in float16 for each row."""

    scale: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, dtype=torch.int8), requires_grad=False)
        self.register_buffer("scale", torch.ones(outputs, 1, dtype=torch.float16))

    @classmethod
    def of(cls, layer: nn.Linear) -> RoundedLinear:
        made = cls(layer.in_features, layer.out_features, layer.bias is not None)
        largest = layer.weight.detach().abs().amax(dim=1, keepdim=True).float()
        made.scale = (largest / 127).half().clamp(min=1e-7)
        made.weight.data = (layer.weight.detach() / made.scale.float()).round().clamp(-127, 127).to(torch.int8)
        made.bias = layer.bias
        return made

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        return self.weight.to(dtype) * self.scale.to(dtype)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.unpacked(input.dtype), self.bias)


@register_quantization_config("rounding")
class RoundingConfig(QuantizationConfigMixin):
    def __init__(self, kept: list[str] | None = None, **_: Any) -> None:
        self.quant_method = "rounding"  # type: ignore[assignment]
        self.kept = kept or []


@register_quantizer("rounding")
class RoundingQuantizer(HfQuantizer):
    requires_calibration = False

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        if self.pre_quantized:
            self._replace(model, lambda old: RoundedLinear(old.in_features, old.out_features, old.bias is not None))

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        if not self.pre_quantized:
            self._replace(model, RoundedLinear.of)
        return model

    def _replace(self, model: Any, made: Any) -> None:
        kept = tuple(f"{name}." for name in self.quantization_config.kept)
        for name, module in list(model.named_modules()):
            if type(module) is nn.Linear and not f"{name}.".startswith(kept):
                with torch.device(module.weight.device):
                    model.set_submodule(name, made(module))

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return True

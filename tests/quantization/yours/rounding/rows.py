"""Rounding to a byte with a scale for each row, as a quantizer of stc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stc.quantization import Quantizer
from stc.system.safetensors_headers import Stored

if TYPE_CHECKING:
    import torch

SCALE = ".scale"


class Rounding(Quantizer):
    VERSION = 3
    BITS = 8
    LIBRARY = "rounding-library"
    IMPORT_BEFORE_LOADING = "rounding_library"
    STORED_DTYPES = ("I8",)
    TRAINABLE = True
    MAX_ERROR = 0.05

    def transformers_config(self, compute_dtype: str, skipped: Sequence[str]) -> Any:
        from rounding_library import RoundingConfig

        return RoundingConfig(kept=list(skipped))

    def packed_bytes(self, shape: tuple[int, ...]) -> float:
        return shape[0] * shape[1] + 2 * shape[0]

    @classmethod
    def matches_config(cls, quantization_config: Mapping[str, Any]) -> bool:
        return quantization_config.get("quant_method") == "rounding"

    @classmethod
    def set_compute_dtype(cls, quantization_config: dict[str, Any], dtype: str) -> None:
        """Nothing is stored about it."""

    @classmethod
    def is_state(cls, name: str) -> bool:
        return name.endswith(SCALE)

    @classmethod
    def logical_shape(cls, name: str, tensors: Mapping[str, Stored]) -> tuple[int, ...]:
        return tensors[name].shape

    @classmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        packed = [name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.dtype == "I8"]
        return [name + SCALE for name in packed if name + SCALE not in tensors]

    @classmethod
    def layer_type(cls) -> type:
        from rounding_library import RoundedLinear

        return RoundedLinear

    def quantize_layer(self, layer: torch.nn.Linear, compute_dtype: torch.dtype) -> torch.nn.Module:
        from rounding_library import RoundedLinear

        return RoundedLinear.of(layer)

    @classmethod
    def dequantize_layer(cls, layer: Any) -> torch.Tensor:
        import torch

        return layer.unpacked(torch.float32)

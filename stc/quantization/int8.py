"""LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339), by bitsandbytes.

Linear layers of the chosen parts are packed, one weight a byte, with a scale for each row. Everything else stays as it
is. Beside a packed ``….weight`` a folder has ``….SCB``, the scales, and ``….weight_format``.

Inputs are rounded to 8 bits as well, each row (a token) by its largest value. Columns (features) in which any row
reaches ``threshold`` are computed in 16 bits, so that they do not make that value too large. Which columns these are
depends on all rows of a batch, so a batch may give another text than its utterances one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from stc.quantization._bitsandbytes import BitsAndBytes

if TYPE_CHECKING:
    import torch

    from stc.system.safetensors_headers import Stored

WEIGHT = ".weight"
SCALES = ".SCB"
FORMAT = ".weight_format"
NAME_BYTES = 200  # about: the names of a matrix's scales and format


class Int8(BitsAndBytes):
    """Settings of LLM.int8.

    Attributes:
        threshold: features with an input of at least this size are computed in 16 bits; 0 computes all in 8.
    """

    VERSION = 1
    BITS = 8
    STORED_DTYPES = ("I8", "U8")
    MAX_ERROR = 0.02  # rounding to eight bits leaves about a hundredth

    method: Literal["int8"] = "int8"
    threshold: float = Field(default=6.0, ge=0)

    def transformers_config(self, compute_dtype: str, skipped: Sequence[str]) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=self.threshold, llm_int8_skip_modules=list(skipped)
        )

    def packed_bytes(self, shape: tuple[int, ...]) -> float:
        return math.prod(shape) + 4 * shape[0] + NAME_BYTES

    @classmethod
    def matches_config(cls, quantization_config: Mapping[str, Any]) -> bool:
        return quantization_config.get("quant_method") == "bitsandbytes" and bool(
            quantization_config.get("load_in_8bit")
        )

    @classmethod
    def set_compute_dtype(cls, quantization_config: dict[str, Any], dtype: str) -> None:
        """The config has no such field: a layer computes in the precision of its input."""

    @classmethod
    def is_state(cls, name: str) -> bool:
        return name.endswith((SCALES, FORMAT))

    @classmethod
    def logical_shape(cls, name: str, tensors: Mapping[str, Stored]) -> tuple[int, ...]:
        return tensors[name].shape

    @classmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        packed = [name.removesuffix(WEIGHT) for name, tensor in tensors.items() if tensor.dtype == "I8"]
        return [name + SCALES for name in packed if name + SCALES not in tensors]

    @classmethod
    def layer_type(cls) -> type:
        from bitsandbytes.nn import Linear8bitLt

        return Linear8bitLt

    def quantize_layer(self, layer: torch.nn.Linear, compute_dtype: torch.dtype) -> torch.nn.Module:
        from bitsandbytes.nn import Int8Params, Linear8bitLt

        packed = Linear8bitLt(
            layer.in_features, layer.out_features, layer.bias is not None, False, threshold=self.threshold
        )
        packed.weight = Int8Params(layer.weight.data.cpu(), requires_grad=False)  # packed when it is moved
        packed.bias = layer.bias
        return packed.to(layer.weight.device)

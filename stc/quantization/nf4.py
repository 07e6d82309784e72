"""4-bit NormalFloat with optional double quantization (Dettmers et al. 2023, arXiv 2305.14314), by bitsandbytes.

Linear layers of the chosen parts are packed, two weights a byte. Everything else stays as it is. Beside a packed
``….weight`` a folder has its state: block scales, code books, and a JSON record with the shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from stc.errors import ModelError
from stc.quantization._bitsandbytes import BitsAndBytes
from stc.system.read_files import parse_json

if TYPE_CHECKING:
    import torch

    from stc.system.safetensors_headers import Stored

RECORD = ".quant_state.bitsandbytes__nf4"
SCALES = (".absmax", ".quant_map")
NESTED_SCALES = (".nested_absmax", ".nested_quant_map")
BLOCK, NESTED_BLOCK = 64, 256  # weights that share a scale, and scales that share a nested one
# About the bytes of a matrix's code books, record and names, with and without nesting.
NESTED_STATE_BYTES, STATE_BYTES = 2000, 700
MAX_RECORD_BYTES = 100_000


class _State(BaseModel):
    """The fields of a packed weight's record that stc reads."""

    quant_type: Literal["nf4"]
    shape: list[Annotated[int, Field(strict=True, ge=1)]]
    nested_blocksize: int | None = None


class NF4(BitsAndBytes):
    """Settings of NF4.

    Attributes:
        double_quant: whether to quantize the block scales too, which saves about 0.4 bits a weight.
    """

    VERSION = 1
    BITS = 4
    STORED_DTYPES = ("U8",)
    # With it, bitsandbytes repacks a layer at its first pass on a CPU with AVX-512 BF16. The layer then computes in
    # bfloat16 whatever the input, has rounded its scales for good, and propagates no gradient.
    EXACT_SETTINGS: ClassVar[Mapping[str, Any]] = {"support_avx512bf16_for_cpu": False}
    TRAINABLE = True
    MAX_ERROR = 0.2  # four bits leave about a tenth

    method: Literal["nf4"] = "nf4"
    double_quant: bool = True

    def transformers_config(self, compute_dtype: str, skipped: Sequence[str]) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=compute_dtype,
            llm_int8_skip_modules=list(skipped),  # despite its name, also for 4 bits
        )

    def packed_bytes(self, shape: tuple[int, ...]) -> float:
        scales = 1 / BLOCK + 4 / (BLOCK * NESTED_BLOCK) if self.double_quant else 4 / BLOCK
        return math.prod(shape) * (self.BITS / 8 + scales) + (NESTED_STATE_BYTES if self.double_quant else STATE_BYTES)

    @classmethod
    def matches_config(cls, quantization_config: Mapping[str, Any]) -> bool:
        return (
            quantization_config.get("quant_method") == "bitsandbytes"
            and quantization_config.get("bnb_4bit_quant_type") == "nf4"
            and bool(quantization_config.get("load_in_4bit"))
        )

    @classmethod
    def set_compute_dtype(cls, quantization_config: dict[str, Any], dtype: str) -> None:
        quantization_config["bnb_4bit_compute_dtype"] = dtype

    @classmethod
    def is_state(cls, name: str) -> bool:
        return name.endswith((RECORD, *SCALES, *NESTED_SCALES))

    @classmethod
    def logical_shape(cls, name: str, tensors: Mapping[str, Stored]) -> tuple[int, ...]:
        record = tensors.get(name + RECORD)
        return tensors[name].shape if record is None else tuple(_state(name, record).shape)

    @classmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        missing = []
        for name, tensor in tensors.items():
            if tensor.dtype != "U8" or cls.is_state(name):
                continue
            needed = [RECORD, *SCALES]
            if record := tensors.get(name + RECORD):
                state = _state(name, record)
                if (math.prod(state.shape) + 1) // 2 != tensor.elements:
                    raise ModelError(
                        f"{record.file}: {name} has {tensor.elements:,} bytes, and its record the shape {state.shape}"
                    )
                needed += NESTED_SCALES if state.nested_blocksize else ()
            missing += [name + suffix for suffix in needed if name + suffix not in tensors]
        return missing

    @classmethod
    def layer_type(cls) -> type:
        from bitsandbytes.nn import Linear4bit

        return Linear4bit

    def quantize_layer(self, layer: torch.nn.Linear, compute_dtype: torch.dtype) -> torch.nn.Module:
        from bitsandbytes.nn import Linear4bit, Params4bit

        packed = Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, compute_dtype, self.double_quant, "nf4"
        )
        packed.weight = Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=self.double_quant, quant_type="nf4"
        )
        packed.bias = layer.bias
        return packed.to(layer.weight.device)

    @classmethod
    def dequantize_layer(cls, layer: Any) -> torch.Tensor:
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def _state(name: str, record: Stored) -> _State:
    where = f"{record.file}: {name + RECORD}"
    if record.dtype != "U8" or record.elements > MAX_RECORD_BYTES:
        raise ModelError(f"{where} is {record.dtype} of {record.elements:,} elements: a short text in U8 is needed")
    return parse_json(record.read(), where, _State, error=ModelError)

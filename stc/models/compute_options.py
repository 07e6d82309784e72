"""Config fields of every stage that loads a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator
    from stc.quantization import Quantizer

DType = Literal["float32", "bfloat16"]
Attention = Literal["sdpa", "eager"]


class Compute(BaseModel):
    """The precision and the attention implementation of computing. Both change results, so both are config.

    Model folders are stored in bfloat16, whatever ``dtype`` says.
    """

    dtype: DType
    attention: Attention = "sdpa"

    def load_model(self, folder: Path, device: str, quantize: Quantizer | None = None) -> Translator:
        """Load a model folder to compute in this way; arguments and errors as :func:`stc.models.load_and_save.load`."""
        from stc.models.load_and_save import load

        return load(folder, device=device, dtype=self.dtype, attention=self.attention, quantize=quantize)

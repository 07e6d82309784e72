"""Config fields of every stage that loads a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

DType = Literal["float32", "bfloat16"]
Attention = Literal["sdpa", "eager"]


class Compute(BaseModel):
    """The precision and the attention implementation of computing. Both change results, so both are config.

    Model folders are stored in bfloat16, whatever ``dtype`` says.
    """

    dtype: DType
    attention: Attention = "sdpa"

"""Config fields shared by every stage that loads a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

DType = Literal["float32", "bfloat16"]
Attention = Literal["sdpa", "eager"]


class Compute(BaseModel):
    """The precision and the attention implementation of computing; both change results, so both are config.

    Model folders are stored in bfloat16 whatever ``dtype`` says: float32 computing starts from the same weights.
    """

    dtype: DType
    attention: Attention = "sdpa"

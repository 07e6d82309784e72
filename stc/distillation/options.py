"""The settings of token-level distillation. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TokenDistillation(BaseModel):
    """Learning from a teacher at every token (``distillation.py``).

    Attributes:
        weight: share of the teacher's distribution in the loss; the rest is cross-entropy with the target's tokens.
        reverse: share of the reverse Kullback-Leibler divergence; the rest is the forward one.
        temperature: both models' logits are divided by it.
        hidden: weight of the distance between both models' hidden states, relative to the whole of the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(gt=0, le=1)
    reverse: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0, le=100)
    hidden: float = Field(ge=0)

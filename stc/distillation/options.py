"""The settings of token-level distillation. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TokenDistillation(BaseModel):
    """The settings by which a student learns from a teacher at every token (:mod:`stc.distillation.token_level`).

    Attributes:
        weight: share of the divergence from the teacher in the loss; the rest is cross-entropy with the targets.
        reverse: share of the reverse Kullback-Leibler divergence; the rest is the forward one.
        temperature: the divisor of both models' logits.
        hidden: weight of the distance between both models' hidden states, relative to all the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(gt=0, le=1)
    reverse: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0, le=100)
    hidden: float = Field(ge=0)

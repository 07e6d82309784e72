"""The settings of the second objective. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Spelling(BaseModel):
    """The second objective of training from scratch: spelling the source from the encoder's output (``ctc.py``).

    Attributes:
        weight: at first, relative to the translation loss, and for this ``share`` of the steps;
        later: from then on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(ge=0)
    share: float = Field(ge=0, le=1)
    later: float = Field(ge=0)

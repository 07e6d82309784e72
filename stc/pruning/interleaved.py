"""Greedy layer selection with training between the rounds."""

from __future__ import annotations

from pydantic import Field

from stc.pruning.greedy import Greedy
from stc.training.recipe import Recipe


class Interleaved(Greedy):
    """Search as :class:`Greedy` does, and train the model whenever so many layers are removed.

    Attributes:
        every: how many layers are removed before the model is trained.
        between: by what recipe.
    """

    every: int = Field(ge=1)
    between: Recipe

    @property
    def trains_encoder(self) -> bool:
        return "encoder" in self.between.parts

"""Greedy layer selection with training between the rounds."""

from __future__ import annotations

from pydantic import Field

from stc.pruning.greedy import Greedy
from stc.training.recipe import Recipe


class Interleaved(Greedy):
    """Search like :class:`Greedy`, and train the model after every few removals.

    Attributes:
        every: the number of layers removed before each training.
        between: the recipe of these trainings.
    """

    every: int = Field(ge=1)
    between: Recipe

    @property
    def trains_encoder(self) -> bool:
        return "encoder" in self.between.parts

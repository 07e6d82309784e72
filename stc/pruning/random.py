"""Layers drawn at random: the baseline for every other method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from stc.errors import InputError
from stc.models.layer_ranking import LayerCounts, Removal, removable
from stc.models.layout import RemovalCounts
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import ByRatio
from stc.store.artifact import Kind
from stc.system.field_types import Seed


class RandomChoice(ByRatio):
    """Remove layers drawn at random, by their own seed."""

    seed: Seed


class RandomLayers(LayerCounts, Stage):
    """Draws ``layers`` of the stacks, all equally likely. With one seed, a smaller draw is a part of a larger one."""

    NAME: ClassVar[str] = "random_layers"
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.RANKING

    layers: int = Field(ge=1)
    seed: Seed

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts:
        return RemovalCounts.from_facts(self._removal().facts())

    def activity(self, inputs: Inputs) -> str:
        return f"drawing {self.layers} layers at random"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        return self._removal().save(out_dir, {"method": "random", "seed": self.seed})

    def _removal(self) -> Removal:
        candidates = removable(self.of)
        if self.layers > len(candidates):
            raise InputError(f"layers={self.layers}: of {self.of}, {len(candidates)} layers can be removed")
        random = Random(self.seed)
        # Only random() gives the same numbers in every version of Python.
        drawn = sorted(candidates, key=lambda layer: random.random())
        return Removal(self.of, tuple(drawn[: self.layers]))

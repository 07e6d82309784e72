"""The block of layers in the middle, chosen without looking at weights or data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.models.layer_ranking import Layer, LayerCounts, Removal, layers_per_stack
from stc.models.layout import RemovalCounts
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import ByRatio
from stc.store.artifact import Kind


class Middle(ByRatio):
    """Remove the block in the middle."""


class MiddleBlock(LayerCounts, Stage):
    """Gives ``layers`` in the middle of the stacks, in proportion to the stacks' sizes.

    Of 32 layers and 8 to remove, these are 12 to 19, as in the paper's ablation (arXiv 2505.20237). If there are two
    blocks in the middle, the lower one is taken.
    """

    NAME: ClassVar[str] = "middle_block"
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.RANKING

    layers: int = Field(ge=1)

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts:
        return RemovalCounts(self.of, layers_per_stack(self.layers, self.of))

    def activity(self, inputs: Inputs) -> str:
        return f"choosing {self.layers} layers in the middle"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        order: list[Layer] = []
        for stack, layers in layers_per_stack(self.layers, self.of).items():
            first = (self.of[stack] - layers) // 2
            order += [(stack, layer) for layer in range(first, first + layers)]
        return Removal(self.of, tuple(order)).save(out_dir, {"method": "middle"})

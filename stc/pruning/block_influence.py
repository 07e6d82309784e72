"""Block influence (ShortGPT, Men et al. 2024, arXiv 2403.03853), and the stages of the two one-shot methods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import TypedDict

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.architecture import Stack
from stc.models.layout import RemovalCounts
from stc.models.options import Compute
from stc.models.removal import Layer, Removal, Scope, in_scope, layers_per_stack, removable
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import ByRatio
from stc.store.artifact import Kind
from stc.system.read_files import read_json

SIMILARITY_FILE = "similarity.json"


class StackSimilarity(TypedDict):
    """How much the layers of a stack change their input.

    ``influence`` is indexed by layer, ``angular`` by the first layer of a block and the block's length minus one.
    """

    influence: list[float]
    angular: list[list[float]]


class BlockInfluence(ByRatio):
    """Remove the layers that change their input least, all at once."""


class Similarity(Compute, Stage):
    """Measures how much layers change their input, in one teacher-forced pass over ``data``.

    Writes similarity.json: for each stack ``influence`` by layer, and ``angular`` by first layer and length of a
    block (:class:`stc.training.teacher_forcing.LayerSimilarity`). Every one-shot method and
    every ratio uses this file.
    """

    NAME: ClassVar[str] = "similarity"
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "data": StageInput(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.SIMILARITY

    def forecast(self, inputs: Mapping[str, Any]) -> Mapping[Stack, int] | None:
        return inputs["model"] and inputs["model"].layers

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models.checkpoint import load
        from stc.training.teacher_forcing import similarities

        manifest = Manifest.load(inputs["data"].path)
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.dtype, attention=self.attention)
        means = {stack: sums.means() for stack, sums in similarities(translator, manifest, ctx).items()}
        (out_dir / SIMILARITY_FILE).write_text(json.dumps(means, indent=1) + "\n", encoding="utf-8")
        return {"layers": {stack: len(mean["influence"]) for stack, mean in means.items()}}


class OneShot(Stage):
    """Chooses the ``layers`` of the scope that change their input least.

    Attributes:
        method: ``block_influence`` removes the layers of lowest influence, from any stack (ShortGPT, Men et al. 2024,
            arXiv 2403.03853). ``angular`` removes the block with the smallest angle between input and output (Gromov et
            al. 2024, arXiv 2403.17887, section 3), one block from each stack. Of equals the lowest is removed.
    """

    NAME: ClassVar[str] = "one_shot"
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"similarity": StageInput(Kind.SIMILARITY)}
    GIVES: ClassVar[Kind] = Kind.RANKING

    method: Literal["block_influence", "angular"]
    scope: Scope = "decoder"
    layers: int = Field(ge=1)

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts | None:
        if inputs["similarity"] is None:
            return None
        of = in_scope(inputs["similarity"], self.scope, "the model")
        if self.method == "angular" or len(of) == 1:
            return RemovalCounts(of, layers_per_stack(self.layers, of))
        return RemovalCounts(of, {}, either=self.layers)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        folder = inputs["similarity"].path
        try:
            found = read_json(folder / SIMILARITY_FILE, dict[Stack, StackSimilarity])
        except FileNotFoundError:
            raise InputError(f"{folder / SIMILARITY_FILE} is missing") from None
        compared = in_scope(found, self.scope, folder / SIMILARITY_FILE)
        of = {stack: len(similarity["influence"]) for stack, similarity in compared.items()}
        if self.layers > len(removable(of)):
            raise InputError(f"layers={self.layers}: of {of}, {len(removable(of))} layers can be removed")
        order, how = self._lowest(found, of) if self.method == "block_influence" else self._blocks(found, of)
        return Removal(of, tuple(order)).save(out_dir, {"method": self.method, **how})

    def _lowest(
        self, found: Mapping[Stack, StackSimilarity], of: Mapping[Stack, int]
    ) -> tuple[list[Layer], dict[str, Any]]:
        influence: dict[Layer, float] = {(stack, at): found[stack]["influence"][at] for stack, at in removable(of)}
        candidates = [
            {"stack": stack, "layer": layer, "influence": value} for (stack, layer), value in influence.items()
        ]
        return sorted(influence, key=lambda layer: influence[layer])[: self.layers], {"candidates": candidates}

    def _blocks(
        self, found: Mapping[Stack, StackSimilarity], of: Mapping[Stack, int]
    ) -> tuple[list[Layer], dict[str, Any]]:
        order: list[Layer] = []
        candidates: list[dict[str, Any]] = []
        for stack, layers in layers_per_stack(self.layers, of).items():
            if not layers:
                continue
            room = [layer for of_stack, layer in removable(of) if of_stack == stack]
            starts = room[: len(room) - layers + 1]
            distance = {start: found[stack]["angular"][start][layers - 1] for start in starts}
            first = min(starts, key=lambda start: distance[start])
            order += [(stack, layer) for layer in range(first, first + layers)]
            candidates += [
                {"stack": stack, "first": start, "layers": layers, "distance": value}
                for start, value in distance.items()
            ]
        return order, {"candidates": candidates}

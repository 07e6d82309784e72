"""Block influence (ShortGPT, Men et al. 2024, arXiv 2403.03853), and the stages of the two one-shot methods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import TypedDict

from stc.data.manifest import Manifest, describe_amount
from stc.errors import InputError
from stc.models.architecture import Stack
from stc.models.compute_options import Compute
from stc.models.layer_ranking import Layer, Removal, Scope, by_stack, in_scope, layers_per_stack, removable
from stc.models.layout import RemovalCounts
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import ByRatio
from stc.store.artifact import Kind
from stc.system.read_files import read_json

SIMILARITY_FILE = "similarity.json"


class StackSimilarity(TypedDict):
    """A measure of how much the layers of a stack change their input.

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

    def activity(self, inputs: Inputs) -> str:
        return f"finding how much each layer changes what passes through it, on {describe_amount(inputs['data'])}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.training.teacher_forcing import similarities

        manifest = Manifest.load(inputs["data"].path).with_own_text()
        translator = self.load_model(inputs["model"].path, ctx.device)
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
        counts = in_scope(inputs["similarity"], self.scope, "the model")
        if self.method == "angular" or len(counts) == 1:
            return RemovalCounts(counts, layers_per_stack(self.layers, counts))
        return RemovalCounts(counts, {}, either=self.layers)

    def activity(self, inputs: Inputs) -> str:
        return f"choosing {self.layers} layers by {self.method.replace('_', ' ')}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        file = inputs["similarity"].path / SIMILARITY_FILE
        try:
            found = in_scope(read_json(file, dict[Stack, StackSimilarity]), self.scope, file)
        except FileNotFoundError:
            raise InputError(f"{file} is missing") from None
        counts = {stack: len(similarity["influence"]) for stack, similarity in found.items()}
        layers = removable(counts)
        if self.layers > len(layers):
            raise InputError(f"layers={self.layers}: of {counts}, {len(layers)} layers can be removed")
        candidates: list[dict[str, Any]] = []
        order: list[Layer] = []
        if self.method == "block_influence":
            influence = {(stack, layer): found[stack]["influence"][layer] for stack, layer in layers}
            candidates = [{"stack": one[0], "layer": one[1], "influence": value} for one, value in influence.items()]
            order = sorted(layers, key=influence.__getitem__)[: self.layers]
        else:
            for stack, length in layers_per_stack(self.layers, counts).items():
                if length:
                    removable_here = by_stack(layers)[stack]
                    starts = removable_here[: len(removable_here) - length + 1]
                    distances = {start: found[stack]["angular"][start][length - 1] for start in starts}
                    candidates += [
                        {"stack": stack, "first": start, "layers": length, "distance": value}
                        for start, value in distances.items()
                    ]
                    first = min(starts, key=distances.__getitem__)
                    order += [(stack, layer) for layer in range(first, first + length)]
        details = {"method": self.method, "candidates": candidates}
        return Removal(counts, tuple(order)).save(out_dir, details)

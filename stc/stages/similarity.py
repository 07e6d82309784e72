"""How much each layer, and each block of layers, changes what passes through: what one-shot pruning goes by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import TypedDict

from stc.data.manifest import Manifest
from stc.models.architecture import Stack
from stc.models.options import Compute
from stc.pipeline.stage import Context, Inputs, Stage, Takes
from stc.store.artifact import Kind

SIMILARITY_FILE = "similarity.json"


class OfStack(TypedDict):
    """How much the layers of a stack change what passes: ``influence`` by layer, ``angular`` by first layer of a block
    and its length less one."""

    influence: list[float]
    angular: list[list[float]]


class Similarity(Compute, Stage):
    """One pass over ``data`` with its own targets (teacher-forced), through encoder and decoder.

    Writes similarity.json: for each stack ``influence`` by layer, and ``angular`` by first layer and length of a
    block (:class:`stc.training.teacher_forcing.Similarity`). Every one-shot method and every ratio is answered from it.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"model": Takes(Kind.MODEL), "data": Takes(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.SIMILARITY

    def foresee(self, inputs: Mapping[str, Any]) -> Mapping[Stack, int] | None:
        return inputs["model"] and inputs["model"].layers

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models.checkpoint import load
        from stc.training.teacher_forcing import similarities

        manifest = Manifest.load(inputs["data"].path)
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.dtype, attention=self.attention)
        with ctx.progress("similarity", total=len(manifest), unit="utterance") as bar:
            found = similarities(translator, manifest, ctx, bar)
        means = {stack: sums.means() for stack, sums in found.items()}
        (out_dir / SIMILARITY_FILE).write_text(json.dumps(means, indent=1) + "\n", encoding="utf-8")
        return {"layers": {stack: len(mean["influence"]) for stack, mean in means.items()}}

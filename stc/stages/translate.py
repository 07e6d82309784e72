"""Translate a data set greedily."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest
from stc.models.options import Compute
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Translate(Compute, Stage):
    """Writes hypotheses.txt: one translation a line, in the manifest's order."""

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {"model": Takes(Kind.MODEL), "data": Takes(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.HYPOTHESES

    max_new_tokens: int = Field(ge=1, le=1024)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.decoding.greedy import translate
        from stc.models.checkpoint import load

        manifest = Manifest.load(inputs["data"].path)
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.dtype, attention=self.attention)
        with ctx.progress("translating", total=len(manifest), unit="utterance") as bar:
            texts = translate(
                translator,
                manifest,
                batch_size=ctx.decode_batch,
                max_new_tokens=self.max_new_tokens,
                progress=bar,
            )
        (out_dir / "hypotheses.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return {"utterances": len(texts), "empty": texts.count("")}

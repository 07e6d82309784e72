"""Translate a data set greedily."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest
from stc.decoding.translating import Translating, write_lines
from stc.metrics.records import HYPOTHESES_FILE
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Translate(Translating, Stage):
    """Writes hypotheses.txt: one translation a line, in the manifest's order."""

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {"model": Takes(Kind.MODEL), "data": Takes(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.HYPOTHESES

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        texts = self.translations(inputs["model"].path, Manifest.load(inputs["data"].path), ctx)
        write_lines(out_dir / HYPOTHESES_FILE, texts)
        return {"utterances": len(texts), "empty": texts.count("")}

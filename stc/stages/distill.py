"""Sequence-level knowledge distillation: add a teacher's translations of the training audio to the originals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, Utterance, place_file
from stc.decoding.translating import read_lines
from stc.errors import InputError
from stc.metrics.records import HYPOTHESES_FILE
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Distill(Stage):
    """Original pairs and the teacher's (Kim and Rush 2016, arXiv 1606.07947), without exact duplicates.

    Attributes:
        repeat: how often each of the teacher's pairs is in the result.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"data": Takes(Kind.MANIFEST), "hypotheses": Takes(Kind.HYPOTHESES)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST

    repeat: int = Field(default=1, ge=1, le=1000)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        data = Manifest.load(inputs["data"].path)
        path = inputs["hypotheses"].path / HYPOTHESES_FILE
        texts = read_lines(path)
        if len(texts) != len(data):
            raise InputError(f"{path} has {len(texts)} translations for the {len(data)} utterances of {data.folder}")

        taught = [
            row.model_copy(update={"id": f"{row.id}.kd", "target": text})
            for row, text in zip(data.rows, texts, strict=True)
            if text
        ]
        originals, seen = _distinct(data.rows, set())
        translations, _ = _distinct(taught, seen)
        rows = originals + [
            row if turn == 1 else row.model_copy(update={"id": f"{row.id}{turn}"})
            for turn in range(1, self.repeat + 1)
            for row in translations
        ]
        ids = {row.id for row in rows}
        if len(ids) != len(rows):
            raise InputError(f"{data.folder} holds distilled utterances already (their ids end in .kd)")
        for audio in sorted({row.audio for row in rows}):
            place_file(data.folder / audio, out_dir / audio)
        Manifest(out_dir, data.task, rows).save()
        return {
            "originals": len(originals),
            "translations": len(translations),
            "duplicates_dropped": len(data) - len(originals) + len(taught) - len(translations),
            "empty_dropped": len(data) - len(taught),
            "pairs": len(rows),
        }


def _distinct(rows: list[Utterance], seen: set[tuple[str, str]]) -> tuple[list[Utterance], set[tuple[str, str]]]:
    """The rows whose audio content and target were not ``seen`` before, and all that are seen now."""
    kept: list[Utterance] = []
    seen = set(seen)
    for row in rows:
        if (pair := (row.sha256, row.target)) not in seen:
            seen.add(pair)
            kept.append(row)
    return kept, seen

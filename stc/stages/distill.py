"""Sequence-level knowledge distillation: add a teacher's translations of the training audio to the originals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, SpeechAmount, Utterance, place_file
from stc.decoding.hypotheses import read_texts
from stc.distillation.filters import Filter, Filters
from stc.errors import InputError
from stc.metrics.metric import raised_versions
from stc.metrics.records import HYPOTHESES_FILE
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind

DROPPED_FILE = "dropped.jsonl"


class Distill(Stage):
    """Original pairs and the teacher's (Kim and Rush 2016, arXiv 1606.07947), without exact duplicates and without
    what the filters drop.

    Beside the manifest there is dropped.jsonl, with each translation a filter dropped: id, filter, text.

    Facts: ``originals``, ``translations`` (distinct ones that were kept), ``pairs``; ``empty_dropped``,
    ``duplicates_dropped``, and ``dropped_by_NAME`` for each filter that is on. A translation counts for the first that
    drops it.

    Attributes:
        repeat: how often each of the teacher's pairs is in the result.
        filters: what a translation has to be.
    """

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "data": StageInput(Kind.MANIFEST),
        "hypotheses": StageInput(Kind.HYPOTHESES),
    }
    GIVES: ClassVar[Kind] = Kind.MANIFEST

    repeat: int = Field(default=1, ge=1, le=1000)
    filters: Filters = Filters()

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {} if self.filters.chrf is None else raised_versions(["chrf"])

    def forecast(self, inputs: Mapping[str, Any]) -> SpeechAmount | None:
        """No recording is added; of how many pairs each is part, the translations decide."""
        found: SpeechAmount | None = inputs["data"]
        return found

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        data = Manifest.load(inputs["data"].path)
        texts = _read(inputs["hypotheses"].path / HYPOTHESES_FILE, data)
        filters = self.filters.active(data.task)
        counts = dict.fromkeys(["empty", *filters], 0)
        taught: list[Utterance] = []
        with (out_dir / DROPPED_FILE).open("w", encoding="utf-8") as file:
            for row, number, text in texts:
                reason = _reason(filters, row, text)
                if reason is None:
                    name = f"{row.id}.kd" if number == 1 else f"{row.id}.s{number}.kd"
                    taught.append(row.model_copy(update={"id": name, "target": text}))
                else:
                    counts[reason] += 1
                    file.write(json.dumps({"id": row.id, "filter": reason, "text": text}, ensure_ascii=False) + "\n")
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
            "empty_dropped": counts.pop("empty"),
            **{f"dropped_by_{name}": count for name, count in counts.items()},
            "pairs": len(rows),
        }


def _read(path: Path, data: Manifest) -> list[tuple[Utterance, int, str]]:
    """Each translation with its utterance, and which of the utterance's translations it is, counted from 1."""
    texts = read_texts(path)
    each, rest = divmod(len(texts), len(data))
    if rest or not each:
        raise InputError(
            f"{path} has {len(texts)} translations for the {len(data)} utterances of {data.folder}: "
            "as many are needed, or a multiple"
        )
    return [(data.rows[place // each], place % each + 1, text) for place, text in enumerate(texts)]


def _reason(filters: Mapping[str, Filter], row: Utterance, text: str) -> str | None:
    """What speaks against a translation, or None."""
    return next((name for name, keeps in filters.items() if not keeps(row, text)), None) if text else "empty"


def _distinct(rows: list[Utterance], seen: set[tuple[str, str]]) -> tuple[list[Utterance], set[tuple[str, str]]]:
    """The rows whose audio content and target were not ``seen`` before, and all that are seen now."""
    kept: list[Utterance] = []
    seen = set(seen)
    for row in rows:
        if (pair := (row.sha256, row.target)) not in seen:
            seen.add(pair)
            kept.append(row)
    return kept, seen

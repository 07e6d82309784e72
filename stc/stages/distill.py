"""distill: add a teacher's translations of the training audio to the data (sequence-level distillation)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, SpeechAmount, Utterance, describe_amount, place_file
from stc.decoding.hypotheses import read_texts
from stc.distillation.filters import Filters
from stc.errors import InputError
from stc.metrics.metric import metric_identities
from stc.metrics.score_files import HYPOTHESES_FILE
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind

DROPPED_FILE = "dropped.jsonl"


class Distill(Stage):
    """Gives the original pairs and those of the teacher (Kim and Rush 2016, arXiv 1606.07947), without duplicates.

    Filters drop translations. The file dropped.jsonl beside the manifest has each of them: id, filter, text.

    Facts: ``originals``, ``translations`` (distinct and not dropped), ``pairs``; ``empty_dropped``,
    ``duplicates_dropped``, and ``dropped_by_NAME`` for each active filter. A translation counts for the first filter
    that drops it.

    Attributes:
        repeat: how often each of the teacher's pairs is in the result.
        filters: the filters of translations.
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
        return {} if self.filters.chrf is None else metric_identities(["chrf"], {})

    def forecast(self, inputs: Mapping[str, Any]) -> SpeechAmount | None:
        found: SpeechAmount | None = inputs["data"]  # no recording is added
        return found

    def activity(self, inputs: Inputs) -> str:
        return f"adding the teacher's translations to {describe_amount(inputs['data'])}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        data = Manifest.load(inputs["data"].path)
        texts = _read(inputs["hypotheses"].path / HYPOTHESES_FILE, data)
        filters = self.filters.active(data.task)
        counts = dict.fromkeys(["empty", *filters], 0)
        taught: list[Utterance] = []
        with (out_dir / DROPPED_FILE).open("w", encoding="utf-8") as file:
            for row, number, text in texts:
                failed = (name for name, accepts in filters.items() if not accepts(row, text))
                reason = next(failed, None) if text else "empty"
                if reason is None:
                    name = f"{row.id}.kd" if number == 1 else f"{row.id}.s{number}.kd"
                    taught.append(row.model_copy(update={"id": name, "target": text}))
                else:
                    counts[reason] += 1
                    file.write(json.dumps({"id": row.id, "filter": reason, "text": text}, ensure_ascii=False) + "\n")
        distinct: dict[tuple[str, str], Utterance] = {}
        for row in [*data.rows, *taught]:
            distinct.setdefault((row.sha256, row.target), row)
        count = len({(row.sha256, row.target) for row in data.rows})
        originals, translations = list(distinct.values())[:count], list(distinct.values())[count:]
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
    """Return (utterance, number, text) for each translation; several of one utterance are numbered from 1."""
    texts = read_texts(path)
    each, rest = divmod(len(texts), len(data))
    if rest or not each:
        raise InputError(
            f"{path} has {len(texts)} translations for the {len(data)} utterances of {data.folder}: "
            "each utterance needs one, or all the same number"
        )
    return [(data.rows[place // each], place % each + 1, text) for place, text in enumerate(texts)]

"""join: several manifests of one language pair as one, in which a part may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, SpeechAmount, Utterance, place_file
from stc.errors import InputError, suggestion
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Artifact, Kind


class Join(Stage):
    """Gives all utterances of the parts, in the order of the parts' labels.

    The label of the part is put before the id, and is the name of the folder with the audio.

    Attributes:
        weights: how often each utterance of a part is in the result, by the part's label; 1 where it is not named.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"parts": StageInput(Kind.MANIFEST, many=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    NEWER_FIELDS: ClassVar[frozenset[str]] = frozenset({"weights"})

    weights: Mapping[str, Annotated[int, Field(ge=1, le=1000)]] = {}

    def forecast(self, inputs: Mapping[str, Any]) -> SpeechAmount | None:
        parts: Mapping[str, SpeechAmount | None] = inputs["parts"]
        known = {label: amount for label, amount in parts.items() if amount is not None}
        if len(known) < len(parts):
            return None
        return SpeechAmount(
            utterances=sum(self.weights.get(label, 1) * amount.utterances for label, amount in known.items()),
            seconds=sum(self.weights.get(label, 1) * amount.seconds for label, amount in known.items()),
            longest=max(amount.longest for amount in known.values()),
        )

    def activity(self, inputs: Inputs) -> str:
        return f"putting {len(inputs['parts'])} data sets together"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        parts: Mapping[str, Artifact] = inputs["parts"]
        if unknown := [label for label in self.weights if label not in parts]:
            raise InputError(f"join: weights has {unknown[0]!r}, which is no part{suggestion(unknown[0], parts)}")
        manifests = {label: Manifest.load(parts[label].path) for label in sorted(parts)}
        task = next(iter(manifests.values())).task
        rows: list[Utterance] = []
        for label, manifest in manifests.items():
            if manifest.task != task:
                first = next(iter(manifests))
                raise InputError(f"{label} is for {manifest.task.target_name}, {first} for {task.target_name}")
            for turn in range(1, self.weights.get(label, 1) + 1):
                prefix = label if turn == 1 else f"{label}*{turn}"
                rows += [
                    row.model_copy(update={"id": f"{prefix}.{row.id}", "audio": f"{label}/{row.audio}"})
                    for row in manifest.rows
                ]
            for audio in sorted({row.audio for row in manifest.rows}):
                place_file(manifest.folder / audio, out_dir / label / audio)
        Manifest(out_dir, task, rows).save()
        return {"utterances": len(rows), "of": {label: len(manifest) for label, manifest in manifests.items()}}

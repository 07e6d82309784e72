"""join: several manifests of one language pair as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest, Utterance, place_file
from stc.errors import InputError
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Artifact, Kind


class Join(Stage):
    """Gives all utterances of the parts, in the order of the parts' labels.

    The label of the part is put before the id, and is the name of the folder with the audio.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"parts": StageInput(Kind.MANIFEST, many=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        parts: Mapping[str, Artifact] = inputs["parts"]
        manifests = {label: Manifest.load(parts[label].path) for label in sorted(parts)}
        task = next(iter(manifests.values())).task
        rows: list[Utterance] = []
        for label, manifest in manifests.items():
            if manifest.task != task:
                first = next(iter(manifests))
                raise InputError(f"{label} is for {manifest.task.target_name}, {first} for {task.target_name}")
            rows += [
                row.model_copy(update={"id": f"{label}.{row.id}", "audio": f"{label}/{row.audio}"})
                for row in manifest.rows
            ]
            for audio in sorted({row.audio for row in manifest.rows}):
                place_file(manifest.folder / audio, out_dir / label / audio)
        Manifest(out_dir, task, rows).save()
        return {"utterances": len(rows), "of": {label: len(manifest) for label, manifest in manifests.items()}}

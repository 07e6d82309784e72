"""synthesize: make a part of the embedded corpus, with sentences of the grammar and voices of speech engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stc.errors import Fault, InputError, field_error
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Artifact, Kind
from talks.speech import EngineName, check_engines

if TYPE_CHECKING:
    from stc.data.manifest import Manifest, Utterance
    from talks.build import Request


class Synthesize(Stage):
    """Makes sentences of one part, and their speech. The same fields give the same sentences, voices and samples.

    With the input ``audio``, the manifest of the same part in another language, its recordings are used again. The
    sentences of the manifest ``without`` are left out, since another seed may draw some sentences again.

    Attributes:
        part: the grammar's part; parts share no sentence.
        sentences: the number of sentences.
        seed: of sentences, voices and noise.
        target_lang: the language of the translations.
        engines: the speech engines, each with its weight; 0 leaves one out.
        noise: the share of noisy utterances.
        max_seconds: longer utterances are replaced by others.
        audio_format: 16-bit PCM, or Opus in Ogg (lossy, an eighth of the size, slower to write).
    """

    NAME: ClassVar[str] = "synthesize"
    VERSION: ClassVar[int] = 4
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "audio": StageInput(Kind.MANIFEST, optional=True),
        "without": StageInput(Kind.MANIFEST, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.MANIFEST

    part: Literal["base", "train", "dev", "selection", "test"]
    sentences: int = Field(ge=1, le=1_000_000)
    seed: int = 0
    target_lang: Literal["de", "zh"]
    engines: dict[EngineName, Annotated[float, Field(ge=0)]] = Field(default={"espeak": 1.0})
    noise: float = Field(default=0.0, ge=0, le=1)
    max_seconds: float = Field(default=8.0, gt=1, le=30)
    audio_format: Literal["wav", "ogg"] = "wav"

    @model_validator(mode="after")
    def _held_out(self) -> Synthesize:
        try:
            check_engines(self.engines, self.part)
        except InputError as error:
            raise field_error(Fault("engines", self.engines, str(error), others=(("part", self.part),))) from None
        return self

    def missing_requirements(self) -> Iterator[str]:
        from talks.engines import lacking

        yield from (why for name, weight in self.engines.items() if weight > 0 and (why := lacking(name)))

    def activity(self, inputs: Inputs) -> str:
        if inputs.get("audio") is not None:
            return f"translating {self.sentences:,} sentences of the part {self.part}, whose recordings are used again"
        return f"making {self.sentences:,} sentences of the part {self.part}, and their speech"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.config.languages import load_language
        from stc.data.manifest import Manifest, Utterance
        from talks.build import requests, speak
        from talks.engines import require

        known: Artifact | None = inputs.get("without")
        without = [row.source for row in Manifest.load(known.path).rows] if known is not None else []
        drawn = requests(self.seed, self.part, self.engines, self.noise, without)
        task = load_language(self.target_lang).task
        reused: Artifact | None = inputs.get("audio")
        if reused is not None:
            rows = self._translate(Manifest.load(reused.path), drawn, out_dir)
        else:
            require(self.engines)
            with ctx.progress(f"speaking {self.part}", total=self.sentences, unit="utterance") as bar:
                spoken = speak(
                    drawn,
                    self.sentences,
                    out_dir,
                    audio_format=self.audio_format,
                    max_seconds=self.max_seconds,
                    workers=ctx.workers,
                    done=bar.update,
                )
            rows = [
                Utterance(
                    id=one.request.id,
                    audio=one.audio,
                    sha256=one.sha256,
                    duration=one.duration,
                    source=one.request.sentence.en,
                    target=one.request.sentence.target(self.target_lang),
                )
                for one in spoken
            ]
        manifest = Manifest(out_dir, task, rows)
        manifest.save()
        return {"utterances": len(manifest), "hours": round(manifest.seconds / 3600, 4)}

    def _translate(self, other: Manifest, drawn: Iterator[Request], out_dir: Path) -> list[Utterance]:
        """Return the rows of ``other`` with translations into this language. The audio files are linked, not copied."""
        from stc.data.manifest import place_file

        if len(other) != self.sentences:
            raise InputError(f"{other.folder} has {len(other)} utterances, not sentences={self.sentences}")
        rows = []
        for row in other.rows:
            request = next((one for one in drawn if one.id >= row.id), None)
            if request is None or request.id != row.id or request.sentence.en != row.source:
                raise InputError(
                    f"{other.folder}: {row.id} is not of part={self.part}, seed={self.seed}: {row.source!r}"
                )
            place_file(other.folder / row.audio, out_dir / row.audio)
            rows.append(row.model_copy(update={"target": request.sentence.target(self.target_lang)}))
        return rows

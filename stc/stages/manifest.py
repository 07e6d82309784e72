"""manifest: one split of a folder of speech with texts, as this project's manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stc.data.manifest import Manifest as Rows
from stc.data.manifest import Task, Utterance, file_sha256, place_file
from stc.errors import InputError, nearest
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Columns(BaseModel):
    """Which key of a line holds what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: str
    source: str
    target: str


class Manifest(Stage):
    """Reads ``<path>/<split>.jsonl``: a JSON object a line, audio paths relative to ``path``.

    ``id``, ``sha256`` and ``duration`` of a line are used where it has them and found out where not. The result
    is identified by what the file and its audio contain, not by where they are.

    Attributes:
        limit: only the first so many utterances.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"path"})

    path: Path
    split: str
    columns: Columns
    task: Task
    limit: int | None = Field(default=None, ge=1)

    def surroundings(self, ctx: Context) -> Mapping[str, Any]:
        digest = hashlib.sha256()
        for number, line in self._lines():
            digest.update(f"{line.get('sha256') or file_sha256(self._audio(number, line))}".encode())
            digest.update(json.dumps(line, sort_keys=True).encode())
        return {"content": digest.hexdigest()}

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        import soundfile

        rows: list[Utterance] = []
        for number, line in self._lines():
            audio = self._audio(number, line)
            name = str(line.get("id") or f"{self.split}-{number:06d}")
            try:
                row = Utterance(
                    id=name,
                    audio=f"audio/{name}{audio.suffix}",
                    sha256=file_sha256(audio),
                    duration=line.get("duration") or soundfile.info(audio).duration,
                    source=self._text(number, line, self.columns.source),
                    target=self._text(number, line, self.columns.target),
                )
            except ValidationError as error:
                first = error.errors()[0]
                raise InputError(f"{self._where(number)}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
            except soundfile.LibsndfileError as error:
                raise InputError(f"{self._where(number)}: {audio} cannot be read as audio: {error}") from None
            if line.get("sha256", row.sha256) != row.sha256:
                raise InputError(f"{self._where(number)}: {audio} is not the file the line describes (sha256)")
            place_file(audio, out_dir / row.audio)
            rows.append(row)
        Rows(out_dir, self.task, rows).save()
        Rows.load(out_dir)  # refuses an id that is there twice
        return {"utterances": len(rows), "seconds": round(sum(row.duration for row in rows), 2)}

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        file = self.path / f"{self.split}.jsonl"
        try:
            lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except FileNotFoundError:
            there = sorted(other.stem for other in self.path.glob("*.jsonl"))
            raise InputError(
                f"{file} is missing; splits there: {', '.join(there) or 'none'}{nearest(self.split, there)}"
            ) from None
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8 (byte {error.start})") from None
        for number, text in enumerate(lines[: self.limit], start=1):
            try:
                line = json.loads(text)
            except json.JSONDecodeError as error:
                raise InputError(f"{self._where(number)}: not JSON: {error}") from None
            if not isinstance(line, dict):
                raise InputError(f"{self._where(number)}: a JSON object is needed, not {text[:40]!r}")
            yield number, line

    def _audio(self, number: int, line: Mapping[str, Any]) -> Path:
        audio = (self.path / self._text(number, line, self.columns.audio)).resolve()
        if not audio.is_relative_to(self.path.resolve()):
            raise InputError(f"{self._where(number)}: {audio} lies outside {self.path}")
        if not audio.is_file():
            raise InputError(f"{self._where(number)}: {audio} is missing")
        return audio

    def _text(self, number: int, line: Mapping[str, Any], column: str) -> str:
        if not isinstance(line.get(column), str):
            raise InputError(f"{self._where(number)}: no text under {column!r}; keys: {', '.join(line)}")
        return str(line[column])

    def _where(self, number: int) -> str:
        return f"{self.path / self.split}.jsonl, line {number}"

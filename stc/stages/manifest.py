"""manifest: one split of a folder of speech with texts, as this project's manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stc.data.cut_short import cut_short
from stc.data.manifest import Content, Speech, Task, Utterance, file_sha256, place_file
from stc.data.manifest import Manifest as Rows
from stc.errors import InputError, nearest
from stc.stage import Context, Inputs, Kind, Stage, Takes

log = logging.getLogger(__name__)

OnOverlap = Literal["refuse", "drop"]

LONGEST_NAME = 240  # bytes; file systems allow 255, and a suffix is added


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
        on_overlap: what becomes of an utterance that has the audio or the text of one in a split of the input
            ``without``: with ``drop`` it is left out, which is said and counted (the fact ``dropped``); with ``refuse``
            that input is not read, and the stage ``disjoint`` is who refuses.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"without": Takes(Kind.MANIFEST, many=True, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    # Whether overlaps are dropped shows in the inputs.
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"path", "on_overlap"})

    path: Path
    split: str
    columns: Columns
    task: Task
    limit: int | None = Field(default=None, ge=1)
    on_overlap: OnOverlap = "refuse"

    def unread(self, given: Collection[str]) -> Iterator[str]:
        if self.on_overlap == "refuse":
            yield "without"

    def surroundings(self, ctx: Context) -> Mapping[str, Any]:
        digest = hashlib.sha256()
        for number, line in self._lines():
            digest.update(f"{line.get('sha256') or file_sha256(self._audio(number, line))}".encode())
            digest.update(json.dumps(line, sort_keys=True).encode())
        return {"content": digest.hexdigest()}

    def foresee(self, inputs: Mapping[str, Any]) -> Speech | None:
        """Known where every line or the header of its audio says how long that is."""
        seconds = [one for _, one in self.lengths()]
        known = [one for one in seconds if one is not None]
        return Speech.of(known) if len(known) == len(seconds) else None

    def lengths(self) -> Iterator[tuple[int, float | None]]:
        """(line, seconds) of every utterance, as the line says it or else the header of its audio; None where that does
        not, of which :meth:`run` says why.

        Raises:
            InputError: the file is not there, or a line is malformed.
        """
        for number, line in self._lines():
            stated = line.get("duration")
            if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 < stated < math.inf:
                yield number, float(stated)
            else:
                yield number, _header_seconds(self.path / str(line.get(self.columns.audio)))

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        others = {label: Content(Rows.load(split.path).rows) for label, split in inputs.get("without", {}).items()}
        rows: list[Utterance] = []
        dropped: list[str] = []
        for number, row in self._read():
            if having := [label for label, split in others.items() if split.match(row) is not None]:
                dropped.append(f"line {number} {row.source!r} ({', '.join(having)})")
                continue
            placed = row.model_copy(update={"audio": f"audio/{row.id}{Path(row.audio).suffix}"})
            try:
                place_file(self.path / row.audio, out_dir / placed.audio)
            except FileExistsError:
                raise InputError(f"{self._where(number)}: id {row.id!r} is the file of another line") from None
            rows.append(placed)
        if dropped:
            log.warning("%s: %d utterances are left out: %s", self.file, len(dropped), "; ".join(dropped))
        if not rows:
            raise InputError(f"{self.file}: every utterance is in {', '.join(others)} as well")
        Rows(out_dir, self.task, rows).save()
        facts = {"utterances": len(rows), "seconds": round(sum(row.duration for row in rows), 2)}
        return facts | ({"dropped": len(dropped)} if others else {})

    def in_place(self) -> Rows:
        """The utterances with their audio where it is: what :meth:`run` makes a folder of.

        Raises:
            InputError: naming the file and line of what is wrong.
        """
        return Rows(self.path, self.task, [row for _, row in self._read()])

    def _read(self) -> Iterator[tuple[int, Utterance]]:
        """(line, utterance), with the path of its audio from ``path``."""
        import soundfile

        lines: dict[str, int] = {}
        for number, line in self._lines():
            audio = self._audio(number, line)
            name = self._id(number, line)
            if lines.setdefault(name, number) != number:
                raise InputError(f"{self._where(number)}: id {name!r} is that of line {lines[name]}, too")
            source = self._text(number, line, self.columns.source)
            target = self._text(number, line, self.columns.target)
            if not target.strip():
                raise InputError(f"{self._where(number)}: the text under {self.columns.target!r} is empty")
            with audio.open("rb") as file:
                if cut_short(file):
                    raise InputError(f"{self._where(number)}: {audio} is cut short: it ends before its audio does")
            try:
                row = Utterance(
                    id=name,
                    audio=str(audio.relative_to(self.path.resolve())),
                    sha256=file_sha256(audio),
                    duration=line.get("duration") or self._duration(number, audio),
                    source=source,
                    target=target,
                )
            except ValidationError as error:
                first = error.errors()[0]
                raise InputError(f"{self._where(number)}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
            except soundfile.LibsndfileError as error:
                raise InputError(
                    f"{self._where(number)}: {audio} cannot be read as audio: {error.error_string}"
                ) from None
            if line.get("sha256", row.sha256) != row.sha256:
                raise InputError(f"{self._where(number)}: {audio} is not the file the line describes (sha256)")
            yield number, row

    @property
    def file(self) -> Path:
        return self.path / f"{self.split}.jsonl"

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        file = self.path / f"{self.split}.jsonl"
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError:
            if not self.path.is_dir():
                raise InputError(f"{self.path} is not there: a folder with {file.name} is needed") from None
            there = sorted(other.stem for other in self.path.glob("*.jsonl"))
            raise InputError(
                f"{file} is missing; splits there: {', '.join(there) or 'none'}{nearest(self.split, there)}"
            ) from None
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8 (byte {error.start})") from None
        filled = [(number, text) for number, text in enumerate(lines, start=1) if text.strip()]
        if not filled:
            raise InputError(f"{file} has no rows")
        for number, text in filled[: self.limit]:
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
        try:
            with audio.open("rb"):
                pass
        except OSError as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            raise InputError(f"{self._where(number)}: {audio} {what}") from None
        return audio

    def _text(self, number: int, line: Mapping[str, Any], column: str) -> str:
        if not isinstance(line.get(column), str):
            raise InputError(
                f"{self._where(number)}: no text under {column!r}; keys: {', '.join(line)}{nearest(column, line)}"
            )
        text = str(line[column])
        if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
            raise InputError(f"{self._where(number)}: under {column!r} is no text: it has NUL or half a surrogate pair")
        return text

    def _id(self, number: int, line: Mapping[str, Any]) -> str:
        """The line's id, which will be the name of a file."""
        if not line.get("id"):
            return f"{self.split}-{number:06d}"
        name = self._text(number, {"id": str(line["id"])}, "id")
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InputError(f"{self._where(number)}: id {name!r} names a file outside the manifest's folder")
        if any(len(part.encode()) > LONGEST_NAME for part in Path(name).parts):
            raise InputError(f"{self._where(number)}: id {name[:40]!r}… is too long for the name of a file")
        return name

    def _duration(self, number: int, audio: Path) -> float:
        """Seconds of audio in a file, by its header."""
        import soundfile

        seconds: float = soundfile.info(audio).duration
        if not seconds:
            raise InputError(f"{self._where(number)}: {audio} holds no audio")
        return seconds

    def _where(self, number: int) -> str:
        return f"{self.path / self.split}.jsonl, line {number}"


def _header_seconds(audio: Path) -> float | None:
    import soundfile

    try:
        return float(soundfile.info(audio).duration) or None if audio.is_file() else None
    except (soundfile.SoundFileError, OSError, ValueError, TypeError):
        return None

"""The manifest: one split of a data set for one language pair, as a folder.

    manifest.jsonl   one utterance a line: id, audio (relative to the folder), sha256, duration (seconds),
                     source, target
    task.json        the language pair: source_lang, target_lang, target_name
    audio/           the files themselves, so that the folder can be moved, copied and checked as one thing

Audio enters a manifest by :func:`place_file`, which hard-links where the file system allows, so the languages
of one corpus and everything distilled from it share the same bytes on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stc.errors import InputError

MANIFEST_FILE = "manifest.jsonl"
TASK_FILE = "task.json"


class Task(BaseModel):
    """A language pair: ISO 639-1 codes, and the target's English name as a prompt says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_lang: str = "en"
    target_lang: str
    target_name: str


class Utterance(BaseModel):
    """One line of a manifest. ``audio`` is relative to the manifest's folder, ``duration`` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    audio: str
    sha256: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    source: str
    target: str = Field(min_length=1)


class Manifest:
    """A manifest in memory: its ``task``, its ``rows`` and the ``folder`` the audio paths start from."""

    def __init__(self, folder: Path, task: Task, rows: list[Utterance]) -> None:
        self.folder = folder
        self.task = task
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> list[str]:
        return [row.target for row in self.rows]

    def audio_paths(self) -> list[Path]:
        return [self.folder / row.audio for row in self.rows]

    @property
    def seconds(self) -> float:
        """Duration of all the audio in it."""
        return sum(row.duration for row in self.rows)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a manifest folder.

        Raises:
            InputError: naming the file and line of what is missing, malformed or listed twice.
        """
        lines = _read(folder / MANIFEST_FILE).removesuffix("\n").split("\n")  # not splitlines: U+2028 is text
        rows: list[Utterance] = []
        seen: set[str] = set()
        for number, line in enumerate(lines if lines != [""] else [], start=1):
            try:
                row = Utterance.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "line"
                raise InputError(f"{folder / MANIFEST_FILE}, line {number}: {where}: {first['msg']}") from None
            if row.id in seen:
                raise InputError(f"{folder / MANIFEST_FILE}, line {number}: id {row.id!r} is there twice")
            if Path(row.audio).is_absolute() or ".." in Path(row.audio).parts:
                raise InputError(f"{folder / MANIFEST_FILE}, line {number}: {row.audio!r} lies outside {folder}")
            seen.add(row.id)
            rows.append(row)
        if not rows:
            raise InputError(f"{folder / MANIFEST_FILE} has no rows")
        try:
            task = Task.model_validate_json(_read(folder / TASK_FILE))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise InputError(f"{folder / TASK_FILE}: {where}: {first['msg']}") from None
        return cls(folder, task, rows)

    def save(self) -> None:
        """Write manifest.jsonl and task.json into ``folder`` (the audio is there already)."""
        with (self.folder / MANIFEST_FILE).open("w", encoding="utf-8") as file:
            for row in self.rows:
                file.write(json.dumps(row.model_dump(), ensure_ascii=False) + "\n")
        (self.folder / TASK_FILE).write_text(self.task.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: not a manifest folder") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})") from None


@dataclass(frozen=True)
class Speech:
    """How much there is to hear: utterances, and the seconds of all and of the longest of them."""

    utterances: int
    seconds: float
    longest: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Speech:
        return cls(len(durations), sum(durations), max(durations))


def place_file(source: Path, destination: Path) -> None:
    """Bring ``source`` to ``destination`` without a second copy of its bytes where that is possible.

    Raises:
        FileExistsError: something is there already; writing to it could write to the file it is a link of.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, destination)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, destination)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Content:
    """What utterances are known by whatever their ids are: the bytes of their audio, and the words of their source."""

    def __init__(self, rows: Iterable[Utterance]) -> None:
        self._audio: dict[str, Utterance] = {}
        self._text: dict[str, Utterance] = {}
        for row in rows:
            self._audio.setdefault(row.sha256, row)
            self._text.setdefault(_normal(row.source), row)

    def match(self, row: Utterance) -> Utterance | None:
        """Return the first of them that has the audio of ``row`` or its words, whatever their case and punctuation."""
        return self._audio.get(row.sha256) or self._text.get(_normal(row.source))


def _normal(text: str) -> str:
    return " ".join(_words(text))


def _words(text: str) -> Iterable[str]:
    return "".join(c if c.isalnum() or c.isspace() else " " for c in text.casefold()).split()

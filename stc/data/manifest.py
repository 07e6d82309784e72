"""A manifest: one split of a data set for one language pair, as a folder.

    manifest.jsonl   one utterance a line: id, audio (relative to the folder), sha256, duration (seconds),
                     source, target
    task.json        the language pair: source_lang, target_lang, target_name
    audio/           the audio files, so that the folder can be moved, copied and checked as a whole

:func:`place_file` puts audio into a manifest by hard links where the file system has them. So the languages of one
corpus, and everything distilled from it, share the same bytes on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stc.errors import InputError
from stc.models.language_pair import Task
from stc.store.artifact import Artifact
from stc.system.read_files import parse_json, read_json, read_lines

MANIFEST_FILE = "manifest.jsonl"
TASK_FILE = "task.json"
ROUNDED = 0.1  # seconds; a stated time may be rounded to tenths
LONGEST_UTTERANCE = 3600  # seconds; an utterance is held in memory, and no model's window is as long


class Span(BaseModel):
    """A part of a recording, from ``start`` to ``end`` in seconds. ``sha256`` identifies the recording."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    start: float
    end: float


class Utterance(BaseModel):
    """One line of a manifest.

    Attributes:
        audio: path relative to the manifest's folder.
        duration: seconds.
        cut_from: the part of a longer recording that a segment was cut from.
        part_of: the id of a longer utterance that this is a part of (:mod:`stc.data.over_window`). It has all its text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    audio: str
    sha256: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    source: str
    target: str = Field(min_length=1)
    cut_from: Span | None = None
    part_of: str | None = None

    @property
    def span(self) -> Span:
        """Return the part of a recording that this is: all of its own file, or a part of the one it was cut from."""
        return self.cut_from or Span(sha256=self.sha256, start=0.0, end=self.duration)


class Manifest:
    """A manifest in memory: its ``task``, its ``rows`` and the ``folder`` the audio paths start from."""

    def __init__(self, folder: Path, task: Task, rows: list[Utterance]) -> None:
        self.folder = folder
        self.task = task
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sources(self) -> list[str]:
        return [row.source for row in self.rows]

    @property
    def targets(self) -> list[str]:
        return [row.target for row in self.rows]

    @property
    def lines(self) -> list[Utterance]:
        """Return an utterance for each line of a translation: of one that was cut into parts, the first part."""
        return [next(parts) for _, parts in groupby(self.rows, lambda row: row.part_of or row.id)]

    @property
    def cut_lines(self) -> int:
        """Return how many of ``lines`` are utterances that were cut into parts."""
        return sum(row.part_of is not None for row in self.lines)

    def with_own_text(self) -> Manifest:
        """Return the manifest without the parts of utterances, whose text is that of more than their audio.

        Raises:
            InputError: nothing is left.
        """
        rows = [row for row in self.rows if row.part_of is None]
        if not rows:
            raise InputError(
                f"{self.folder}: every utterance is longer than the model's window, and was cut into parts"
            )
        return Manifest(self.folder, self.task, rows)

    def audio_paths(self) -> list[Path]:
        return [self.folder / row.audio for row in self.rows]

    @property
    def seconds(self) -> float:
        """Return the duration of all its audio."""
        return sum(row.duration for row in self.rows)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a manifest folder.

        Raises:
            InputError: naming the file and line of what is missing, malformed or listed twice.
        """
        file = folder / MANIFEST_FILE
        rows: list[Utterance] = []
        seen: set[str] = set()
        try:
            for number, text in read_lines(file):
                where = f"{file}, line {number}"
                row = parse_json(text, where, Utterance)
                if row.id in seen:
                    raise InputError(f"{where}: id {row.id!r} is there twice")
                if Path(row.audio).is_absolute() or ".." in Path(row.audio).parts:
                    raise InputError(f"{where}: {row.audio!r} lies outside {folder}")
                seen.add(row.id)
                rows.append(row)
            if not rows:
                raise InputError(f"{file} has no rows")
            task = read_json(folder / TASK_FILE, Task)
        except FileNotFoundError as missing:
            raise InputError(f"{missing} is missing: not a manifest folder") from None
        return cls(folder, task, rows)

    def save(self) -> None:
        """Write manifest.jsonl and task.json into ``folder`` (the audio is there already)."""
        with (self.folder / MANIFEST_FILE).open("w", encoding="utf-8") as file:
            for row in self.rows:
                file.write(json.dumps(row.model_dump(exclude_none=True), ensure_ascii=False) + "\n")
        (self.folder / TASK_FILE).write_text(self.task.model_dump_json(indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class SpeechAmount:
    """An amount of speech: the number of utterances, and the seconds of all of them and of the longest."""

    utterances: int
    seconds: float
    longest: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> SpeechAmount:
        return cls(len(durations), sum(durations), max(durations))


def utterance_count(manifest: Artifact) -> int | None:
    """Return how many utterances a manifest has by its facts; None for one from outside a store."""
    return manifest.facts.get("pairs", manifest.facts.get("utterances"))


def describe_amount(manifest: Artifact) -> str:
    """Return how many utterances a manifest has, in words."""
    count = utterance_count(manifest)
    return "all utterances" if count is None else f"{count:,} utterance{'s' * (count != 1)}"


def place_file(source: Path, destination: Path) -> None:
    """Put ``source`` at ``destination``: as a hard link if possible, else as a copy.

    Raises:
        FileExistsError: something is there already. Writing to it could change another file with the same link.
    """
    try:
        os.link(source, destination)
    except FileExistsError:
        raise
    except OSError:  # no folder yet, another file system, or one without hard links
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, destination)
        except FileExistsError:
            raise
        except OSError:
            shutil.copyfile(source, destination)


class OverlapIndex:
    """An index that finds an utterance again by its content, whatever its id.

    Two utterances overlap if they have the same audio bytes, overlapping parts of one recording, or the same words in
    the source, ignoring case and punctuation.
    """

    def __init__(self, rows: Iterable[Utterance]) -> None:
        self._audio: dict[str, Utterance] = {}
        self._recording: dict[str, list[Utterance]] = {}
        self._text: dict[str, Utterance] = {}
        for row in rows:
            self._audio.setdefault(row.sha256, row)
            self._recording.setdefault(row.span.sha256, []).append(row)
            if words := _normal(row.source):  # without transcripts, no two share a sentence
                self._text.setdefault(words, row)

    def match(self, row: Utterance) -> Utterance | None:
        """Return the first indexed utterance that overlaps ``row``; None if there is none."""
        cut = (other for other in self._recording.get(row.span.sha256, []) if _overlap(row.span, other.span))
        return self._audio.get(row.sha256) or self._text.get(_normal(row.source)) or next(cut, None)


def _overlap(first: Span, second: Span) -> bool:
    # Two segments that follow each other may overlap a little, since their times are rounded.
    return min(first.end, second.end) - max(first.start, second.start) > ROUNDED


def _normal(text: str) -> str:
    return " ".join("".join(c if c.isalnum() or c.isspace() else " " for c in text.casefold()).split())


OnOverlap = Literal["refuse", "drop"]

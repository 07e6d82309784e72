"""manifest: one split of a folder of speech with texts, as this project's manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, ClassVar

from pydantic import Field

from stc.data.json_lines import Columns, Line, read, told
from stc.data.manifest import Content, OnOverlap, Span, Speech, Utterance, place_file
from stc.data.manifest import Manifest as Rows
from stc.errors import InputError, nearest
from stc.models.task import Task
from stc.pipeline.stage import Context, Inputs, Stage, Takes
from stc.store.artifact import Kind
from stc.system.durable_files import file_sha256
from stc.system.language_tags import WITHOUT_SPACES, script
from stc.system.paths import Folder

log = logging.getLogger(__name__)


LISTED = 20  # utterances named of those that are left out


class Manifest(Stage):
    """Reads ``<path>/<split>.jsonl``: a JSON object a line, audio paths relative to ``path``.

    ``id``, ``sha256`` and ``duration`` of a line are found out where it has none, and compared with the file where it
    has. A line with an ``offset`` is a segment of its file, of that ``duration`` or to the end, and is cut from it. The
    result is identified by what the file and its audio contain, not by where they are.

    Attributes:
        limit: only the first so many utterances.
        allow_links: whether a link in ``path`` may lead to audio outside of it.
        on_overlap: what becomes of an utterance that has the audio or the text of one in a split of the input
            ``without``: with ``drop`` it is left out, which is said and counted (the fact ``dropped``); with ``refuse``
            that input is not read, and the stage ``disjoint`` is who refuses.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"without": Takes(Kind.MANIFEST, many=True, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    # Whether overlaps are dropped shows in the inputs.
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"path", "allow_links", "on_overlap"})

    path: Folder
    split: str
    columns: Columns
    task: Task
    limit: int | None = Field(default=None, ge=1)
    allow_links: bool = False
    on_overlap: OnOverlap = "refuse"

    def unread(self, given: Collection[str]) -> Iterator[str]:
        if self.on_overlap == "refuse":
            yield "without"

    @property
    def file(self) -> Path:
        return self.path / f"{self.split}.jsonl"

    def surroundings(self, ctx: Context) -> Mapping[str, Any]:
        digest = hashlib.sha256()
        for line in self._lines():
            digest.update((line.stated_sha256 or line.sha256).encode())
            digest.update(json.dumps(line.content, sort_keys=True).encode())
            if line.duration is not None or line.offset is not None:
                start, end, whole = line.span()
                if not whole:  # a line of a whole file is known by its content alone
                    digest.update(f"{start} {end}".encode())
        found = {"content": digest.hexdigest()}
        written = script(self.task.target_lang)
        if written in (*WITHOUT_SPACES, "Kore") and self.task.target_lang not in ("zh", "ja", "ko"):
            found["script"] = written  # scores go by the script, which these tags name beside the language
        return found

    def foresee(self, inputs: Mapping[str, Any]) -> Speech | None:
        """Known where the audio of every line can be looked at."""
        seconds = [one for _, one in self.lengths()]
        known = [one for one in seconds if one is not None]
        return Speech.of(known) if len(known) == len(seconds) else None

    def lengths(self) -> Iterator[tuple[int, float | None]]:
        """Yield (line, seconds) of every utterance; None where its audio does not say so, of which :meth:`run` says
        why.

        Raises:
            InputError: the file is not there, or a line is malformed.
        """
        for line in self._lines():
            try:
                start, end, _ = line.span()
            except InputError:
                yield line.number, None
            else:
                yield line.number, end - start

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        others = {label: Content(Rows.load(split.path).rows) for label, split in inputs.get("without", {}).items()}
        rows: list[Utterance] = []
        dropped: list[str] = []
        for line in self._lines():
            try:
                row = _placed(line, out_dir)
            except FileExistsError:
                raise InputError(f"{line.where}: id {line.id!r} is the file of another line") from None
            if having := [label for label, split in others.items() if split.match(row) is not None]:
                (out_dir / row.audio).unlink()
                dropped.append(f"line {line.number} {row.source!r} ({', '.join(having)})")
            else:
                rows.append(row)
        if dropped:
            more = f" and {len(dropped) - LISTED} more" if len(dropped) > LISTED else ""
            log.warning(
                "%s: %d utterances are left out: %s%s", self.file, len(dropped), "; ".join(dropped[:LISTED]), more
            )
        if not rows:
            raise InputError(f"{self.file}: every utterance is in {', '.join(others)} as well")
        Rows(out_dir, self.task, rows).save()
        facts = {"utterances": len(rows), "seconds": round(sum(row.duration for row in rows), 2)}
        return facts | ({"dropped": len(dropped)} if others else {})

    def in_place(self) -> Rows:
        """Return the utterances with their audio where it is: what :meth:`run` makes a folder of. Segments are cut into
        a temporary folder, which goes with the process.

        Raises:
            InputError: naming the file and line of what is wrong.
        """
        folder = Path(os.path.realpath(self.path))
        return Rows(folder, self.task, [_in_place(line) for line in self._lines()])

    def _lines(self) -> Iterator[Line]:
        """Yield the lines.

        Raises:
            InputError: naming the file and line of what is wrong.
        """
        try:
            yield from read(self.path, self.split, self.columns, limit=self.limit, allow_links=self.allow_links)
        except FileNotFoundError:
            if not self.path.is_dir():
                raise InputError(f"{self.path} is not there: a folder with {self.file.name} is needed") from None
            there = sorted(other.stem for other in self.path.glob("*.jsonl"))
            raise InputError(
                f"{self.file} is missing; splits there: {', '.join(there) or 'none'}{nearest(self.split, there)}"
            ) from None


def _placed(line: Line, folder: Path) -> Utterance:
    """Bring a line's audio into a manifest's folder.

    Raises:
        FileExistsError: another line's is in its place.
    """
    start, end, whole = _checked(line)
    audio = f"audio/{line.id}{Path(line.audio).suffix if whole else '.wav'}"
    if not whole:
        return _cut(line, start, end, folder / audio, audio)
    place_file(Path(line.audio), folder / audio)
    return _row(line, audio, line.sha256, end)


def _in_place(line: Line) -> Utterance:
    start, end, whole = _checked(line)
    if whole:
        return _row(line, line.audio, line.sha256, end)
    file = Path(mkdtemp(dir=_temporary().name), "segment.wav")
    return _cut(line, start, end, file, str(file))


def _checked(line: Line) -> tuple[float, float, bool]:
    """The line's span, of a file that is the one the line describes."""
    span = line.span()
    if line.stated_sha256 not in (None, line.sha256):
        raise InputError(f"{line.where}: {line.audio} is not the file the line describes (sha256)")
    return span


def _cut(line: Line, start: float, end: float, file: Path, audio: str) -> Utterance:
    from stc.data.audio_file import cut

    with told(line.where):
        seconds = cut(Path(line.audio), start, end, file)
    whole = Span(sha256=line.sha256, start=start, end=end)
    return _row(line, audio, file_sha256(file), seconds, cut_from=whole)


def _row(line: Line, audio: str, sha256: str, duration: float, cut_from: Span | None = None) -> Utterance:
    return Utterance(
        id=line.id,
        audio=audio,
        sha256=sha256,
        duration=duration,
        source=line.source,
        target=line.target,
        cut_from=cut_from,
    )


@lru_cache(maxsize=1)
def _temporary() -> TemporaryDirectory[str]:
    """A folder that goes with the process."""
    return TemporaryDirectory(prefix="stc-segments-")

"""manifest: one split of speech with texts, from a data source, as this project's manifest."""

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

from stc.data.manifest import Manifest as Rows
from stc.data.manifest import OnOverlap, OverlapIndex, Span, SpeechAmount, Utterance, place_file
from stc.data.rows import CheckedRow, checked, error_context
from stc.data.sources import SourceSettings
from stc.errors import InputError
from stc.models.task import Task
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.system.durable_files import file_sha256
from stc.system.language_tags import WITHOUT_SPACES, script

log = logging.getLogger(__name__)


LISTED = 20  # utterances named of those that are left out


class Manifest(SourceSettings, Stage):
    """Reads a split of a data source (:mod:`stc.data.sources`).

    ``id``, ``sha256`` and ``duration`` of a row are found out where it has none, and compared with the audio where it
    has. A row with an ``offset`` is a segment of its audio, of that ``duration`` or to the end, and is cut from it. The
    result is identified by what the rows and their audio contain, not by where they are or what reads them.

    Attributes:
        limit: only the first so many utterances.
        on_overlap: what becomes of an utterance that has the audio or the text of one in a split of the input
            ``without``: with ``drop`` it is left out, which is said and counted (the fact ``dropped``); with ``refuse``
            that input is not read, and the stage ``disjoint`` is who refuses.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"without": StageInput(Kind.MANIFEST, many=True, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    # Whether overlaps are dropped shows in the inputs.
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"source", "path", "allow_links", "on_overlap"})

    split: str
    task: Task
    limit: int | None = Field(default=None, ge=1)
    on_overlap: OnOverlap = "refuse"

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        if self.on_overlap == "refuse":
            yield "without"

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        digest = hashlib.sha256()
        for row in self._rows():
            digest.update((row.stated_sha256 or row.sha256).encode())
            digest.update(json.dumps(row.content, sort_keys=True).encode())
            if row.duration is not None or row.offset is not None:
                start, end, whole = row.span()
                if not whole:  # a row of a whole file is known by its content alone
                    digest.update(f"{start} {end}".encode())
        found = {"content": digest.hexdigest()}
        written = script(self.task.target_lang)
        if written in (*WITHOUT_SPACES, "Kore") and self.task.target_lang not in ("zh", "ja", "ko"):
            found["script"] = written  # scores go by the script, which these tags name beside the language
        return found

    def forecast(self, inputs: Mapping[str, Any]) -> SpeechAmount | None:
        """Known where the audio of every line can be looked at."""
        seconds = [one for _, one in self.lengths()]
        known = [one for one in seconds if one is not None]
        return SpeechAmount.of(known) if len(known) == len(seconds) else None

    def lengths(self) -> Iterator[tuple[str, float | None]]:
        """Yield the place in its file and the seconds of every utterance; None for those whose audio does not say so:
        :meth:`run` says why.

        Raises:
            DataNotFound: the data are not there.
            InputError: a row is malformed.
        """
        for row in self._rows():
            try:
                start, end, _ = row.span()
            except InputError:
                yield row.place, None
            else:
                yield row.place, end - start

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        others = {label: OverlapIndex(Rows.load(split.path).rows) for label, split in inputs.get("without", {}).items()}
        rows: list[Utterance] = []
        dropped: list[str] = []
        for row in self._rows():
            try:
                utterance = _placed(row, out_dir)
            except FileExistsError:
                raise InputError(f"{row.where}: id {row.id!r} is the file of another line") from None
            if having := [label for label, split in others.items() if split.match(utterance) is not None]:
                (out_dir / utterance.audio).unlink()
                dropped.append(f"{row.place} {utterance.source!r} ({', '.join(having)})")
            else:
                rows.append(utterance)
        if dropped:
            more = f" and {len(dropped) - LISTED} more" if len(dropped) > LISTED else ""
            listed = "; ".join(dropped[:LISTED])
            log.warning("%s: %d utterances are left out: %s%s", self._described(), len(dropped), listed, more)
        if not rows:
            raise InputError(f"{self._described()}: every utterance is in {', '.join(others)} as well")
        Rows(out_dir, self.task, rows).save()
        facts = {"utterances": len(rows), "seconds": round(sum(utterance.duration for utterance in rows), 2)}
        return facts | ({"dropped": len(dropped)} if others else {})

    def in_place(self) -> Rows:
        """Return the utterances with their audio where it is: what :meth:`run` makes a folder of. Segments, and
        audio that came as bytes, are in a temporary folder, which goes with the process.

        Raises:
            InputError: naming the file and line of what is wrong.
        """
        folder = Path(os.path.realpath(self.path or _temporary().name))
        return Rows(folder, self.task, [_in_place(row) for row in self._rows()])

    def _rows(self) -> Iterator[CheckedRow]:
        return checked(self.data_source(), self.split, limit=self.limit)

    def _described(self) -> str:
        return self.data_source().described(self.split)


def _placed(row: CheckedRow, folder: Path) -> Utterance:
    """Bring a row's audio into a manifest's folder.

    Raises:
        FileExistsError: another row's is in its place.
    """
    start, end, whole = _checked(row)
    audio = f"audio/{row.id}{Path(row.audio).suffix if whole else '.wav'}"
    if not whole:
        return _cut(row, start, end, folder / audio, audio)
    place_file(Path(row.audio), folder / audio)
    return _row(row, audio, row.sha256, end)


def _in_place(row: CheckedRow) -> Utterance:
    start, end, whole = _checked(row)
    if whole and not row.temporary:
        return _row(row, row.audio, row.sha256, end)
    file = Path(mkdtemp(dir=_temporary().name), "segment.wav")
    if not whole:
        return _cut(row, start, end, file, str(file))
    place_file(Path(row.audio), file)
    return _row(row, str(file), row.sha256, end)


def _checked(row: CheckedRow) -> tuple[float, float, bool]:
    """Return the row's span, of a file that is the one the row describes."""
    span = row.span()
    if row.stated_sha256 not in (None, row.sha256):
        raise InputError(f"{row.where}: {row.audio} is not the file the line describes (sha256)")
    return span


def _cut(row: CheckedRow, start: float, end: float, file: Path, audio: str) -> Utterance:
    from stc.data.audio_file import cut_audio

    with error_context(row.where):
        seconds = cut_audio(Path(row.audio), start, end, file)
    whole = Span(sha256=row.sha256, start=start, end=end)
    return _row(row, audio, file_sha256(file), seconds, cut_from=whole)


def _row(row: CheckedRow, audio: str, sha256: str, duration: float, cut_from: Span | None = None) -> Utterance:
    return Utterance(
        id=row.id,
        audio=audio,
        sha256=sha256,
        duration=duration,
        source=row.source,
        target=row.target,
        cut_from=cut_from,
    )


@lru_cache(maxsize=1)
def _temporary() -> TemporaryDirectory[str]:
    """A folder that goes with the process."""
    return TemporaryDirectory(prefix="stc-segments-")

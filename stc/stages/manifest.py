"""manifest: read a split of a data source into a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stc.config.languages import language_codes
from stc.data.manifest import MANIFEST_FILE, OnOverlap, OverlapIndex, Span, SpeechAmount, Utterance, place_file
from stc.data.manifest import Manifest as Rows
from stc.data.over_window import OverWindow, cut_into_parts
from stc.data.rows import CheckedRow, checked, error_context
from stc.data.sources import Columns, SourceSettings, SplitPart
from stc.errors import Fault, InputError, field_error
from stc.models.language_pair import Task
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.store.lookup import resolve_artifact
from stc.system.durable_files import file_sha256
from stc.system.hub_files import HubFiles
from stc.system.language_tags import WITHOUT_SPACES, script
from stc.system.natural_order import natural_key

log = logging.getLogger(__name__)

LISTED = 20  # dropped utterances that a message names


class Manifest(SourceSettings, Stage):
    """Reads a split of a data source (:mod:`stc.data.sources`).

    If a row states ``id``, ``sha256`` or ``duration``, they are compared with the audio; otherwise they are found. A
    row with an ``offset`` is a segment of its audio, with that ``duration`` or to the end, and is cut out. The content
    of rows and audio identifies the result, not their place or the source class. Data of a source that knows an
    identity of its own, such as a commit, are not read for that.

    Attributes:
        limit: only this many utterances, from the start.
        on_overlap: about an utterance with the audio or text of one in a split of the input ``without``. ``drop``
            leaves it out, logs it and counts it (the fact ``dropped``). With ``refuse`` the input is not read; the
            stage ``disjoint`` refuses such splits.
        over_window: about an utterance that is longer than ``window``. ``split`` cuts one that is ``translated`` into
            parts (:mod:`stc.data.over_window`), and leaves any other out, as its text cannot be cut; both are logged
            and counted (the facts ``cut`` and ``left_out``). With ``refuse`` such an utterance is refused by the stage
            that hears it, and before a run starts.
        window: seconds that the model hears at once.
        translated: whether the utterances are translated, and not trained on.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"without": StageInput(Kind.MANIFEST, many=True, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MANIFEST
    # on_overlap need not be in the identity: with drop there is an input more. The environment has the last three.
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset(
        {"source", "path", "allow_links", "on_overlap", "over_window", "window", "translated"}
    )

    split: str | SplitPart
    task: Task
    limit: int | None = Field(default=None, ge=1)
    on_overlap: OnOverlap = "refuse"
    over_window: OverWindow = "refuse"
    window: float | None = Field(default=None, ge=1)
    translated: bool = False

    @model_validator(mode="after")
    def _window_is_known(self) -> Self:
        if self.over_window == "split" and self.window is None:
            needed = "over_window=split needs the seconds that the model hears at once: model.window=SECONDS"
            raise field_error(Fault("window", None, needed))
        return self

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        if self.on_overlap == "refuse":
            yield "without"

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        identity = self._source_identity()
        found: dict[str, Any] = {"content": self._content_digest()} if identity is None else {"source": identity}
        target_script = script(self.task.target_lang)
        if target_script in (*WITHOUT_SPACES, "Kore") and self.task.target_lang not in ("zh", "ja", "ko"):
            found["script"] = target_script  # it decides how texts are scored
        if self.over_window == "split":
            found["over_window"] = {"window": self.window, "translated": self.translated}
        return found

    def downloads(self) -> Iterator[HubFiles]:
        return self.data_source().downloads()

    @property
    def _whole_split(self) -> str:
        return self.split.of if isinstance(self.split, SplitPart) else self.split

    def _source_identity(self) -> Mapping[str, Any] | None:
        return self.data_source().identity(self._whole_split)

    def _content_digest(self) -> str:
        digest = hashlib.sha256()
        for row in self._rows():
            digest.update((row.stated_sha256 or row.sha256).encode())
            digest.update(json.dumps(row.content, sort_keys=True).encode())
            if row.duration is not None or row.offset is not None:
                start, end, whole = row.span()
                if not whole:  # a whole file is identified by its content alone
                    digest.update(f"{start} {end}".encode())
        return digest.hexdigest()

    def forecast(self, inputs: Mapping[str, Any]) -> SpeechAmount | None:
        if self._source_identity() is not None:
            return None  # the data may have to be downloaded
        seconds = [one for _, one in self.lengths()]
        known = [one for one in seconds if one is not None]
        return SpeechAmount.of(known) if len(known) == len(seconds) else None

    def lengths(self) -> Iterator[tuple[str, float | None]]:
        """Yield each utterance's place in its file and its seconds; None if they cannot be read, for which :meth:`run`
        has the error.

        Raises:
            DataNotFound: the data are not there.
            InputError: a row is malformed.
        """
        if self._source_identity() is not None:
            return  # the data may have to be downloaded
        for row in self._rows():
            try:
                start, end, _ = row.span()
            except InputError:
                yield row.place, None
                continue
            if not self._is_over_window(end - start):
                yield row.place, end - start
            elif self.translated:
                yield row.place, self.window

    def activity(self, inputs: Inputs) -> str:
        first = f"the first {self.limit:,} utterances of " if self.limit else ""
        return f"reading {first}the split {self._whole_split}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        others = {label: OverlapIndex(Rows.load(split.path).rows) for label, split in inputs.get("without", {}).items()}
        rows: list[Utterance] = []
        dropped: list[str] = []
        over_window: list[str] = []
        for row in self._rows():
            try:
                utterance = _placed(row, out_dir)
                if overlaps := [label for label, split in others.items() if split.match(utterance) is not None]:
                    (out_dir / utterance.audio).unlink()
                    dropped.append(f"{row.place} {utterance.source!r} ({', '.join(overlaps)})")
                elif not self._is_over_window(utterance.duration):
                    rows.append(utterance)
                else:
                    over_window.append(f"{row.place} ({utterance.duration:.2f} s)")
                    rows += self._fitting(utterance, out_dir)
            except FileExistsError:
                raise InputError(f"{row.where}: id {row.id!r} is the file of another line") from None
        self._log(dropped, "are left out")
        what = "are cut into parts" if self.translated else "are left out"
        self._log(over_window, f"are longer than the model's window of {self.window or 0:g} s and {what}")
        if not rows:
            why = [f"is in {', '.join(others)} as well"] * bool(dropped)
            why += ["is longer than the model's window"] * bool(over_window)
            raise InputError(f"{self._described()}: every utterance {' or '.join(why)}")
        Rows(out_dir, self.task, rows).save()
        facts = {"utterances": len(rows), "seconds": round(sum(utterance.duration for utterance in rows), 2)}
        facts |= {"dropped": len(dropped)} if others else {}
        return facts | ({"cut" if self.translated else "left_out": len(over_window)} if over_window else {})

    def _is_over_window(self, seconds: float) -> bool:
        return self.over_window == "split" and self.window is not None and seconds > self.window

    def _fitting(self, utterance: Utterance, folder: Path) -> list[Utterance]:
        """Return the parts of an utterance that is longer than the window; none if it is not to be translated."""
        assert self.window is not None
        if self.translated:
            return cut_into_parts(utterance, folder, self.window)
        (folder / utterance.audio).unlink()
        return []

    def _log(self, utterances: list[str], what: str) -> None:
        if utterances:
            more = f" and {len(utterances) - LISTED} more" if len(utterances) > LISTED else ""
            listed = "; ".join(utterances[:LISTED])
            log.warning("%s: %d utterances %s: %s%s", self._described(), len(utterances), what, listed, more)

    def in_place(self) -> Rows:
        """Return the utterances with their audio where it is, without a folder of their own.

        Segments, and audio that came as bytes, are written to a temporary folder, which is deleted with the process.

        Raises:
            InputError: a row is wrong; the message names file and line.
        """
        folder = Path(os.path.realpath(self.path or _temporary().name))
        return Rows(folder, self.task, [_in_place(row) for row in self._rows()])

    def _rows(self) -> Iterator[CheckedRow]:
        return checked(self.data_source(), self.split, limit=self.limit)

    def _described(self) -> str:
        part = f" ({self.split})" if isinstance(self.split, SplitPart) else ""
        return f"{self.data_source().described(self._whole_split)}{part}"


def read_data(
    data: Path, columns: Columns, task: Task | None, *, limit: int | None = None, allow_links: bool = False
) -> Rows:
    """Return the data that somebody names: a manifest folder, its identity, or a JSON Lines file with audio beside it.

    Args:
        columns: of a JSON Lines file, like ``task`` and ``allow_links``; a manifest folder has its own.

    Raises:
        InputError: something is wrong; the message names file and line.
    """
    data = resolve_artifact(data, Kind.MANIFEST)
    if data.is_dir():
        if not (data / MANIFEST_FILE).exists() and (splits := sorted(data.glob("*.jsonl"), key=natural_key)):
            raise InputError(f"{data} is not a manifest folder; name one of its files: {', '.join(map(str, splits))}")
        rows = Rows.load(data)
        return Rows(rows.folder, rows.task, rows.rows[:limit])
    if data.suffix != ".jsonl":
        raise InputError(f"{data}: neither a folder nor the name of a JSON Lines file, which ends in .jsonl")
    if task is None:
        raise InputError(f"{data} does not say its language: --lang is one of {', '.join(language_codes())}")
    reader = Manifest(
        path=data.parent, split=data.stem, columns=columns, task=task, limit=limit, allow_links=allow_links
    )
    return reader.in_place()


def _placed(row: CheckedRow, folder: Path) -> Utterance:
    """Put a row's audio into a manifest's folder.

    Raises:
        FileExistsError: the audio of another row has the same name.
    """
    span = _checked_span(row)
    audio = f"audio/{row.id}{Path(row.audio).suffix if span[2] else '.wav'}"
    return _place(row, span, folder / audio, audio)


def _in_place(row: CheckedRow) -> Utterance:
    span = _checked_span(row)
    if span[2] and not row.temporary:
        return _utterance(row, audio=row.audio, sha256=row.sha256, duration=span[1])
    file = Path(mkdtemp(dir=_temporary().name), "segment.wav")
    return _place(row, span, file, str(file))


def _checked_span(row: CheckedRow) -> tuple[float, float, bool]:
    span = row.span()
    if row.stated_sha256 not in (None, row.sha256):
        raise InputError(f"{row.where}: {row.audio} is not the file the line describes (sha256)")
    return span


def _place(row: CheckedRow, span: tuple[float, float, bool], file: Path, audio: str) -> Utterance:
    """Put a row's audio into ``file``, which the manifest names ``audio``."""
    from stc.data.audio_file import cut_audio

    start, end, whole = span
    if whole:
        place_file(Path(row.audio), file)
        return _utterance(row, audio=audio, sha256=row.sha256, duration=end)
    with error_context(row.where):
        seconds = cut_audio(Path(row.audio), start, end, file)
    cut_from = Span(sha256=row.sha256, start=start, end=end)
    return _utterance(row, audio=audio, sha256=file_sha256(file), duration=seconds, cut_from=cut_from)


def _utterance(row: CheckedRow, **audio: Any) -> Utterance:
    return Utterance(id=row.id, source=row.source, target=row.target, **audio)


@lru_cache(maxsize=1)
def _temporary() -> TemporaryDirectory[str]:
    """Return a folder that is deleted with the process."""
    return TemporaryDirectory(prefix="stc-segments-")

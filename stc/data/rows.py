"""Check the rows of a data source one by one, and what they say about their audio: the same for every source."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stc.data.manifest import LONGEST_UTTERANCE, ROUNDED
from stc.data.sources import AudioBytes, DataNotFound, FolderSource, Row, Source, SplitNotFound, SplitPart
from stc.errors import InputError, suggestion
from stc.system.durable_files import cached_sha256

LONGEST_NAME = 240  # bytes; file systems allow 255, and a suffix is added
AS_STATED = 0.005  # seconds; a stated duration this close to the file's is used as it is, else the file's is
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class CheckedRow:
    """A row of a source. Everything is checked that can be without opening its audio.

    Attributes:
        where: file and line, for messages.
        content: what identifies the row in the identity of the data, beside its audio.
        audio: real path of its audio file.
        file_stamp: size and time of change of the audio file.
        temporary: whether the audio file was written from bytes, and is deleted when the next row is read.
        stated_sha256: the digest of the audio file that the row states, in small letters; None if it states none.
        duration: seconds that the row states; None if it states none.
        offset: where its audio begins in the file, in seconds; None if the row does not say.
    """

    where: str
    content: Mapping[str, Any]
    id: str
    audio: str
    file_stamp: tuple[int, int]
    temporary: bool
    source: str
    target: str
    stated_sha256: str | None
    duration: float | None
    offset: float | None

    @property
    def place(self) -> str:
        """Return where the row is listed, without the folders."""
        return os.path.basename(self.where)

    @property
    def sha256(self) -> str:
        """Return the digest of its audio file, computed from the content."""
        with error_context(self.where):
            try:
                return cached_sha256(self.audio, self.file_stamp)
            except OSError as error:
                raise InputError(f"{self.audio} cannot be read: {error.strerror}") from None

    def span(self) -> tuple[float, float, bool]:
        """Return the start and end of its audio in the file, in seconds, and whether that is the whole file.

        Raises:
            InputError: the file cannot be read as audio, or the line contradicts it.
        """
        from stc.data.audio_file import audio_info

        with error_context(self.where):
            file = audio_info(self.audio, self.file_stamp)
            tolerance = ROUNDED + file.uncertainty
            start = self.offset or 0.0
            end = file.seconds if self.duration is None else start + self.duration
            if start == 0 and abs(end - file.seconds) <= tolerance:
                return 0.0, end if abs(end - file.seconds) <= AS_STATED else file.seconds, True
            if self.offset is None:
                raise InputError(
                    f"duration is {self.duration:g} s, but {self.audio} lasts {file.seconds:.2f} s; a line that is a "
                    "segment of its file needs an offset as well"
                )
            if start >= file.seconds or end > file.seconds + tolerance:
                raise InputError(
                    f"the segment from {start:g} s to {end:g} s is not in {self.audio}, which lasts "
                    f"{file.seconds:.2f} s"
                )
            if end - start > LONGEST_UTTERANCE:
                raise InputError(f"the segment lasts {end - start:g} s: the longest allowed is {LONGEST_UTTERANCE:g} s")
            return start, min(end, file.seconds), False


def checked(source: Source, split: str | SplitPart, *, limit: int | None = None) -> Iterator[CheckedRow]:
    """Yield the first ``limit`` rows of a split, or of a part of one, checked.

    Audio that came as bytes is in a file until the next row.

    Raises:
        DataNotFound: there are no such data, or no such split.
        InputError: a row is wrong; the message names file and line.
    """
    part, split = (split, split.of) if isinstance(split, SplitPart) else (None, split)
    if not source.has(split):
        there = source.splits()
        splits = f"splits found: {', '.join(there) or 'none'}{suggestion(split, there)}"
        raise (SplitNotFound if there else DataNotFound)(f"{source.described(split)} is missing; {splits}")
    chosen = None
    if part is not None:
        count = source.count(split)
        try:
            chosen = part.numbers(count)
        except InputError as error:
            raise SplitNotFound(f"{source.described(split)}: {error}") from None
    folder = _Folder(source.path, source.allow_links) if isinstance(source, FolderSource) else None
    ids: dict[str, str] = {}
    with TemporaryDirectory(prefix="stc-audio-") as temporary:
        for position, row in enumerate(source.rows(split)):
            if chosen is not None and position not in chosen:
                continue
            with error_context(row.where):
                found = _checked(row, split, folder, Path(temporary))
                if found.id in ids:
                    raise InputError(f"id {found.id!r} is also the id of {ids[found.id]}")
                ids[found.id] = found.place
            yield found
            if found.temporary:
                os.unlink(found.audio)
            if len(ids) == limit:
                return
    if not ids:
        raise InputError(f"{source.described(split)} has no rows")


def _checked(row: Row, split: str, folder: _Folder | None, temporary: Path) -> CheckedRow:
    names = row.column_names
    if isinstance(row.audio, AudioBytes):
        audio, file_stamp = _write(row.audio, temporary)
    elif folder is None:
        raise InputError(f"{names.audio} must be bytes: only a source with a folder (FolderSource) takes paths")
    else:
        audio, file_stamp = folder.find(_text(names.audio, row.audio))
    target = _text(names.target, row.target)
    if not target.strip():
        raise InputError(f"the text under {names.target!r} is empty")
    stated: dict[str, Any] = {
        "id": _id(row.id) or f"{split}-{row.number:06d}",
        "source": _text(names.source, row.source, optional=True),
        "target": target,
        "duration": _seconds("duration", row.duration),
        "offset": _seconds("offset", row.offset),
    }
    return CheckedRow(
        where=row.where,
        content=stated if row.content is None else row.content,
        audio=audio,
        file_stamp=file_stamp,
        temporary=isinstance(row.audio, AudioBytes),
        stated_sha256=_stated_sha256(row.sha256),
        **stated,
    )


def _write(audio: AudioBytes, folder: Path) -> tuple[str, tuple[int, int]]:
    """Write a file named by its content, so that path and size identify the content. Return its path and stamp."""
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", audio.suffix):
        raise _wrong_value("the suffix of its audio", audio.suffix, "a file suffix is needed, such as .wav")
    file = folder / f"{hashlib.sha256(audio.content).hexdigest()}{audio.suffix}"
    file.write_bytes(audio.content)
    return str(file), (len(audio.content), 0)


class _Folder:
    """The folder that the audio paths of rows are relative to."""

    def __init__(self, path: Path, allow_links: bool) -> None:
        self._path = path
        self._root = os.path.realpath(path)
        self._allow_links = allow_links
        self._real: dict[str, str] = {}  # real paths of its subfolders: most rows name one of a few

    def find(self, name: str) -> tuple[str, tuple[int, int]]:
        """Return the real path of a file in the folder, and the file's size and time of change.

        Raises:
            InputError: the file is missing, is not a regular file, or lies outside the folder.
        """
        within, last = os.path.split(name)
        if within not in self._real:
            self._real[within] = os.path.realpath(os.path.join(self._root, within))
        path = os.path.join(self._real[within], last)
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode) or last in ("", ".", ".."):
                path = os.path.realpath(path)
                found = os.stat(path)
        except OSError as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            raise InputError(f"{path} {what}") from None
        if not self._holds(path):
            if not self._holds(os.path.normpath(os.path.join(self._root, name))):
                raise InputError(f"{path} lies outside {self._path}")
            if not self._allow_links:
                raise InputError(
                    f"{path} lies outside {self._path}, and {name!r} is a link to it: links that lead outside are "
                    "followed with data.allow_links=true (stc.evaluate: --allow-links)"
                )
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} cannot be read: it is not a regular file")
        return path, (found.st_size, found.st_mtime_ns)

    def _holds(self, path: str) -> bool:
        return path.startswith(self._root.rstrip("/") + "/")


def _text(name: str, text: object, *, optional: bool = False) -> str:
    if not isinstance(text, str):
        raise _wrong_value(name, text, "a text is needed" + (', "" if there is none' if optional else ""))
    if _NO_TEXT.search(text):
        raise InputError(f"the text under {name!r} has a NUL character or half a surrogate pair")
    return text


def _wrong_value(key: str, value: object, needed: str) -> InputError:
    shown = json.dumps(value, ensure_ascii=False, default=repr)
    return InputError(f"{key} is {shown if len(shown) <= 40 else f'{shown[:40]}…'}: {needed}")


def _id(stated: object) -> str | None:
    """Return the row's id, which becomes the name of a file."""
    if stated is None or stated == "":
        return None
    if isinstance(stated, bool) or not isinstance(stated, str | int | float) or stated != stated:
        raise _wrong_value("id", stated, "a text or a number is needed, or null to have one made")
    name = _text("id", str(stated))
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"id {name!r} names a file outside the manifest's folder")
    if any(len(part.encode()) > LONGEST_NAME for part in Path(name).parts):
        raise InputError(f"id {name[:40]!r}… is too long for the name of a file")
    return name


def _stated_sha256(stated: object) -> str | None:
    if stated is None:
        return None
    if not isinstance(stated, str) or not re.fullmatch("[0-9a-fA-F]{64}", stated):
        raise _wrong_value("sha256", stated, "64 hexadecimal digits are needed, or null to have it computed")
    return stated.lower()


def _seconds(key: str, stated: Any) -> float | None:
    """Return the duration or the offset that a row states."""
    if stated is None:
        return None
    try:
        seconds = math.nan if isinstance(stated, bool) else float(stated)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf or (seconds == 0 and key == "duration"):
        raise _wrong_value(key, stated, "seconds are needed, or null for none")
    return seconds


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """Put ``where`` (file and line) before the message of an InputError that is raised inside the block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None

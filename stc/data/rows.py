"""The rows of a data source, checked one by one, and what they say of their audio: the same for every source."""

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
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stc.data.manifest import LONGEST_UTTERANCE, ROUNDED
from stc.data.sources import Absent, AudioBytes, FolderSource, Row, Source
from stc.errors import InputError, nearest
from stc.system.durable_files import file_sha256

LONGEST_NAME = 240  # bytes; file systems allow 255, and a suffix is added
AS_STATED = 0.005  # seconds; a stated duration that is rounded to hundredths is used, a rougher one is the file's
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class CheckedRow:
    """A row of a source, with everything checked that can be without opening its audio.

    Attributes:
        where: file and line, for messages.
        content: what it is known by in the identity of the data, beside its audio.
        audio: the real path of its audio.
        stamp: size and time of change of its audio's file.
        passing: whether that file goes when the next row is read: it was made of the bytes of the row.
        stated_sha256: of that file, in small letters.
        duration: in seconds, that the row states.
        offset: where its audio begins in the file, in seconds; None where it does not say so.
    """

    where: str
    content: Mapping[str, Any]
    id: str
    audio: str
    stamp: tuple[int, int]
    passing: bool
    source: str
    target: str
    stated_sha256: str | None
    duration: float | None
    offset: float | None

    @property
    def place(self) -> str:
        """Where it is listed, without the folders."""
        return os.path.basename(self.where)

    @property
    def sha256(self) -> str:
        """The digest of its file, by what is in there."""
        with told(self.where):
            return _sha256(self.audio, self.stamp)

    def span(self) -> tuple[float, float, bool]:
        """Return from where to where its audio goes in the file, in seconds, and whether that is all of the file.

        Raises:
            InputError: the file cannot be read as audio, or the line contradicts it.
        """
        from stc.data.audio_file import look

        with told(self.where):
            seen = look(self.audio, self.stamp)
            near = ROUNDED + seen.doubt
            start = self.offset or 0.0
            end = seen.seconds if self.duration is None else start + self.duration
            if start == 0 and abs(end - seen.seconds) <= near:
                return 0.0, end if abs(end - seen.seconds) <= AS_STATED else seen.seconds, True
            if self.offset is None:
                raise InputError(
                    f"duration is {self.duration:g} s, and {self.audio} lasts {seen.seconds:.2f} s; a line that is a "
                    "segment of its file has an offset as well"
                )
            if start >= seen.seconds or end > seen.seconds + near:
                raise InputError(
                    f"the segment from {start:g} s to {end:g} s is not in {self.audio}, which lasts "
                    f"{seen.seconds:.2f} s"
                )
            if end - start > LONGEST_UTTERANCE:
                raise InputError(f"the segment lasts {end - start:g} s: at most {LONGEST_UTTERANCE:g} s are cut")
            return start, min(end, seen.seconds), False


def checked(source: Source, split: str, *, limit: int | None = None) -> Iterator[CheckedRow]:
    """Yield the first ``limit`` rows of a split. The file of audio that came as bytes is there until the next row.

    Raises:
        Absent: there are no such data, or no such split.
        InputError: naming the file and line of what is wrong.
    """
    if not source.has(split):
        there = source.splits()
        listed = f"splits there: {', '.join(there) or 'none'}{nearest(split, there)}"
        raise Absent(f"{source.described(split)} is missing; {listed}")
    folder = _Folder(source.path, source.allow_links) if isinstance(source, FolderSource) else None
    ids: dict[str, str] = {}
    with TemporaryDirectory(prefix="stc-audio-") as passing:
        for row in source.rows(split):
            with told(row.where):
                found = _checked(row, split, folder, Path(passing))
                if found.id in ids:
                    raise InputError(f"id {found.id!r} is that of {ids[found.id]}, too")
                ids[found.id] = found.place
            yield found
            if found.passing:
                os.unlink(found.audio)
            if len(ids) == limit:
                return
    if not ids:
        raise InputError(f"{source.described(split)} has no rows")


def _checked(row: Row, split: str, folder: _Folder | None, passing: Path) -> CheckedRow:
    called = row.called
    if isinstance(row.audio, AudioBytes):
        audio, stamp = _written(row.audio, passing)
    elif folder is None:
        raise InputError(f"{called.audio} is no bytes, and a path needs a source with a folder (FolderSource)")
    else:
        audio, stamp = folder.find(_text(called.audio, row.audio))
    target = _text(called.target, row.target)
    if not target.strip():
        raise InputError(f"the text under {called.target!r} is empty")
    stated: dict[str, Any] = {
        "id": _id(row.id) or f"{split}-{row.number:06d}",
        "source": _text(called.source, row.source, optional=True),
        "target": target,
        "duration": _seconds("duration", row.duration),
        "offset": _seconds("offset", row.offset),
    }
    return CheckedRow(
        where=row.where,
        content=stated if row.content is None else row.content,
        audio=audio,
        stamp=stamp,
        passing=isinstance(row.audio, AudioBytes),
        stated_sha256=_stated_sha256(row.sha256),
        **stated,
    )


def _written(audio: AudioBytes, folder: Path) -> tuple[str, tuple[int, int]]:
    """Write a file that is named by its content, so that its path and size say which content that is; return both."""
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", audio.suffix):
        raise _unfit("the suffix of its audio", audio.suffix, "that of a file is needed, such as .wav")
    file = folder / f"{hashlib.sha256(audio.content).hexdigest()}{audio.suffix}"
    file.write_bytes(audio.content)
    return str(file), (len(audio.content), 0)


class _Folder:
    """The folder that the paths of lines start from."""

    def __init__(self, path: Path, allow_links: bool) -> None:
        self._path = path
        self._root = os.path.realpath(path)
        self._allow_links = allow_links
        self._real: dict[str, str] = {}  # of folders in it: most lines name one of a few

    def find(self, name: str) -> tuple[str, tuple[int, int]]:
        """Return the real path of a file in it, and the file's size and time of change.

        Raises:
            InputError: it is missing, no regular file, or lies outside.
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
            raise InputError(f"{path} cannot be read: it is no regular file")
        return path, (found.st_size, found.st_mtime_ns)

    def _holds(self, path: str) -> bool:
        return path.startswith(self._root.rstrip("/") + "/")


def _text(name: str, text: object, *, optional: bool = False) -> str:
    if not isinstance(text, str):
        raise _unfit(name, text, "a text is needed" + (', "" where there is none' if optional else ""))
    if _NO_TEXT.search(text):
        raise InputError(f"under {name!r} is no text: it has NUL or half a surrogate pair")
    return text


def _unfit(key: str, value: object, needed: str) -> InputError:
    shown = json.dumps(value, ensure_ascii=False, default=repr)
    return InputError(f"{key} is {shown if len(shown) <= 40 else f'{shown[:40]}…'}: {needed}")


def _id(stated: object) -> str | None:
    """Return the row's id, which will be the name of a file."""
    if stated is None or stated == "":
        return None
    if isinstance(stated, bool) or not isinstance(stated, str | int | float) or stated != stated:
        raise _unfit("id", stated, "a text or a number is needed, or null for one to be made")
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
        raise _unfit("sha256", stated, "64 hexadecimal digits are needed, or null for it to be found out")
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
        raise _unfit(key, stated, "seconds are needed, or null for none")
    return seconds


@lru_cache(maxsize=2**18)
def _sha256(path: str, stamp: tuple[int, int]) -> str:
    """Return the digest of a file that is hashed once in a process, unless its stamp changes."""
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def told(where: str) -> Iterator[None]:
    """Name the file and line in what is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None

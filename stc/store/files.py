"""The files of an artifact: their checksums, and how they are brought to disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.store.artifact import RECORD_FILE
from stc.store.records import serialize_record
from stc.system.durable_files import file_sha256, fsync, make_durable, write_atomically
from stc.system.read_files import read_json

HashTable = dict[str, tuple[int, int, str]]
"""The shape of hashes.json: path → size, time of change in nanoseconds, and SHA-256 of a file."""


class FileHashes:
    """The SHA-256 of files. A file is read again only when its size or time of change differs.

    Processes share ``file`` and add to it. If two write at once, one loses what it added, and those files are read once
    more.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._added: HashTable = {}
        self._read: tuple[int, int] | None = None
        self._known: HashTable = {}
        self._refresh()

    def sha256(self, path: Path) -> str:
        stamp = _stamp(path)
        if self._known.get(str(path), ())[:2] != stamp:
            self._refresh()
        if self._known.get(str(path), ())[:2] != stamp:
            self._add(path, stamp, file_sha256(path))  # with the stamp from before: a change meanwhile is noticed
        return self._known[str(path)][2]

    def remember(self, path: Path, digest: str) -> None:
        self._add(path, _stamp(path), digest)

    @property
    def unsaved(self) -> bool:
        """Return whether there are digests that the file does not have."""
        return bool(self._added)

    def save(self) -> None:
        self._refresh()
        write_atomically(self._file, json.dumps(self._known))
        self._added = {}

    def _add(self, path: Path, stamp: tuple[int, int], digest: str) -> None:
        self._known[str(path)] = self._added[str(path)] = (*stamp, digest)

    def _refresh(self) -> None:
        """Read the file if it has changed. A damaged file counts as none."""
        with suppress(OSError, InputError):
            stamp = _stamp(self._file)
            if stamp != self._read:
                self._read = stamp
                self._known = {**read_json(self._file, HashTable), **self._added}


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def list_files(folder: Path) -> list[str]:
    """Return the files of an artifact's folder, without its record."""
    return sorted(name for name in _names(folder) if (folder / name).is_file() and name != RECORD_FILE)


def seal_artifact(folder: Path, record: dict[str, Any]) -> None:
    """Add the files to the record of an artifact, and bring record and files to disk."""
    names = list_files(folder)
    with ThreadPoolExecutor() as pool:  # a corpus has 100,000 files, and each waits for the disk
        entries = pool.map(make_durable, (folder / name for name in names))
        record["files"] = dict(zip(names, entries, strict=True))
    (folder / RECORD_FILE).write_text(serialize_record(record), encoding="utf-8")
    fsync(folder / RECORD_FILE)
    for one in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        fsync(one)


def unlisted_file(folder: Path, listed: Collection[str]) -> str:
    """Return a name in an artifact's folder that its record does not list; empty if there is none.

    Names that begin with a dot belong to file systems and desktops; no file of an artifact has such a name.
    """
    others = [name for name in _names(folder) if name not in listed and name != RECORD_FILE]
    found = (one for one in others if not re.search(r"(^|/)\.", one))
    return next((one for one in found if not any(name.startswith(f"{one}/") for name in listed)), "")


def _names(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, at any depth, that are no folders. A link to a folder is not followed."""
    for parent, folders, names in os.walk(folder):
        inside = os.path.relpath(parent, folder)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        yield from (name if inside == "." else f"{inside}/{name}" for name in (*names, *links))

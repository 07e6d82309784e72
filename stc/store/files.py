"""Files on their way to disk, and their checksums."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from stc.errors import InputError
from stc.store.artifact import RECORD_FILE
from stc.system.durable_files import file_sha256, write_atomically
from stc.system.read_files import read_json

HashTable = dict[str, tuple[int, int, str]]
"""Path → size, time of change in nanoseconds, and sha256 of a file: the shape of hashes.json."""


class FileHashes:
    """sha256 of files, read again only when size or time of change differ.

    Processes that share the file add to it: what another has found out is looked up there before a file is read. Of
    two that write at once one loses what it added, and somebody reads those files once more.
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
            self._add(path, stamp, file_sha256(path))  # as it was before: one that changes meanwhile is read again
        return self._known[str(path)][2]

    def remember(self, path: Path, digest: str) -> None:
        self._add(path, _stamp(path), digest)

    @property
    def unsaved(self) -> bool:
        """Whether anything was found out that the file does not have."""
        return bool(self._added)

    def save(self) -> None:
        self._refresh()
        write_atomically(self._file, json.dumps(self._known))
        self._added = {}

    def _add(self, path: Path, stamp: tuple[int, int], digest: str) -> None:
        self._known[str(path)] = self._added[str(path)] = (*stamp, digest)

    def _refresh(self) -> None:
        """Read the file, if it has changed since it was read. One that is damaged is as good as none."""
        with suppress(OSError, InputError):
            stamp = _stamp(self._file)
            if stamp != self._read:
                self._read = stamp
                self._known = {**read_json(self._file, HashTable), **self._added}


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def list_files(folder: Path) -> list[str]:
    """The files of an artifact's folder, its record left out."""
    return sorted(name for name in _names(folder) if (folder / name).is_file() and name != RECORD_FILE)


def unlisted_file(folder: Path, listed: Collection[str]) -> str:
    """What is in an artifact's folder and not among the files its record lists; empty where there is nothing.

    Names that begin with a dot are left to file systems and desktops; no file of an artifact has such a name.
    """
    others = [name for name in _names(folder) if name not in listed and name != RECORD_FILE]
    found = (one for one in others if not re.search(r"(^|/)\.", one))
    return next((one for one in found if not any(name.startswith(f"{one}/") for name in listed)), "")


def _names(folder: Path) -> Iterator[str]:
    """What is in a folder and is no folder itself; a link to a folder is not gone into."""
    for parent, folders, names in os.walk(folder):
        inside = os.path.relpath(parent, folder)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        yield from (name if inside == "." else f"{inside}/{name}" for name in (*names, *links))

"""Files on their way to disk, and their checksums."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stc.data.manifest import file_sha256
from stc.errors import InputError
from stc.pipeline.stage import RECORD_FILE
from stc.system.read_files import read_json

Known = dict[str, tuple[int, int, str]]
"""Path → size, time of change in nanoseconds, and sha256 of a file: the shape of hashes.json."""


def disk_full(error: BaseException) -> bool:
    """Whether an error is that a disk, or one's share of it, is full; safetensors raises one of its own, by text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


class Hashes:
    """sha256 of files, read again only when size or time of change differ.

    Processes that share the file add to it: what another has found out is looked up there before a file is read. Of
    two that write at once one loses what it added, and somebody reads those files once more.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._added: Known = {}
        self._read: tuple[int, int] | None = None
        self._known: Known = {}
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
                self._known = {**read_json(self._file, Known), **self._added}


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def files_of(folder: Path) -> list[str]:
    """The files of an artifact's folder, its record left out."""
    return sorted(name for name in _names(folder) if (folder / name).is_file() and name != RECORD_FILE)


def foreign(folder: Path, listed: Collection[str]) -> str:
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


def discard(path: Path) -> None:
    """Remove a folder with all that is in it; of a link the link, and not what it leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def mismatch(file: Path, name: str, entry: Mapping[str, Any], sha256: Callable[[Path], str] = file_sha256) -> str:
    """In what a file differs from its entry in a record; empty where it does not. ``name`` is what it is called."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            return f"{name} is no file"
        if found.st_size != entry["bytes"]:
            return f"{name} has {found.st_size} bytes, {entry['bytes']} were written"
        return "" if sha256(file) == entry["sha256"] else f"{name} is not what was written (checksum)"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return f"{name} is missing"
        raise


def write_atomically(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")  # a process id is not one of a kind on two machines
    try:
        beside.write_text(text, encoding="utf-8")
        sync(beside)  # or after a power cut the file may be there and empty
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def settle(file: Path) -> dict[str, Any]:
    """Bring a file to disk, to be read and written by whoever may read and write its folder; its entry in the record.

    safetensors keeps what it writes to its owner, which in a store that several people share nobody else could use.
    """
    found = file.stat()
    if found.st_nlink == 1:  # else it is a sound that lies elsewhere as well, with permissions of its own
        file.chmod(file.parent.stat().st_mode & 0o666)
    sync(file)
    return {"bytes": found.st_size, "sha256": file_sha256(file)}


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

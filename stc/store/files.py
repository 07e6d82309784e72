"""Files on their way to disk, and their checksums."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stc.data.manifest import file_sha256
from stc.stage import RECORD_FILE


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
        self._added: dict[str, list[Any]] = {}
        self._read: list[int] | None = None
        self._known: dict[str, list[Any]] = {}
        self._refresh()

    def sha256(self, path: Path) -> str:
        stamp = _stamp(path)
        if self._known.get(str(path), [])[:2] != stamp:
            self._refresh()
        if self._known.get(str(path), [])[:2] != stamp:
            self._add(path, stamp, file_sha256(path))  # as it was before: one that changes meanwhile is read again
        digest: str = self._known[str(path)][2]
        return digest

    def remember(self, path: Path, digest: str) -> None:
        self._add(path, _stamp(path), digest)

    def save(self) -> None:
        if self._added:
            self._refresh()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(self._known))
            self._added = {}

    def _add(self, path: Path, stamp: list[int], digest: str) -> None:
        self._known[str(path)] = self._added[str(path)] = [*stamp, digest]

    def _refresh(self) -> None:
        """Read the file, if it has changed since it was read."""
        try:
            stamp = _stamp(self._file)
            if stamp != self._read:
                self._known = {**json.loads(self._file.read_text()), **self._added}
                self._read = stamp
        except (FileNotFoundError, ValueError):
            return


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def files_of(folder: Path) -> list[str]:
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if name != RECORD_FILE)


def mismatch(file: Path, name: str, entry: Mapping[str, Any], sha256: Callable[[Path], str] = file_sha256) -> str:
    """In what a file differs from its entry in a record; empty where it does not. ``name`` is what it is called."""
    try:
        if (size := file.stat().st_size) != entry["bytes"]:
            return f"{name} has {size} bytes, {entry['bytes']} were written"
        return "" if sha256(file) == entry["sha256"] else f"{name} is not what was written (checksum)"
    except FileNotFoundError:
        return f"{name} is missing"


def write_atomically(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")  # a process id is not one of a kind on two machines
    beside.write_text(text)
    sync(beside)  # or after a power cut the file may be there and empty
    beside.replace(file)


def settle(file: Path) -> dict[str, Any]:
    """Bring a file to disk, to be read and written by whoever may read and write its folder; its entry in the record.

    safetensors keeps what it writes to its owner, which in a store that several people share nobody else could use.
    """
    stat = file.stat()
    if stat.st_nlink == 1:  # else it is a sound that lies elsewhere as well, with permissions of its own
        file.chmod(file.parent.stat().st_mode & 0o666)
    sync(file)
    return {"bytes": stat.st_size, "sha256": file_sha256(file)}


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

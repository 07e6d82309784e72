"""Files on their way to disk, and their checksums."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from stc.data.manifest import file_sha256
from stc.stage import RECORD_FILE


def disk_full(error: BaseException) -> bool:
    """Whether an error is that a disk, or one's share of it, is full; safetensors raises one of its own, by text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


class Hashes:
    """sha256 of files, read again only when size or time of change differ."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            self._known: dict[str, list[Any]] = json.loads(file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            self._known = {}

    def sha256(self, path: Path) -> str:
        known = self._known.get(str(path))
        if known is None or known[:2] != _stamp(path):
            self.remember(path, file_sha256(path))
        digest: str = self._known[str(path)][2]
        return digest

    def remember(self, path: Path, digest: str) -> None:
        self._known[str(path)] = [*_stamp(path), digest]
        self._changed = True

    def save(self) -> None:
        if self._changed:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(self._known))
            self._changed = False


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def files_of(folder: Path) -> list[str]:
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if name != RECORD_FILE)


def write_atomically(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(file)


def settle(file: Path) -> dict[str, Any]:
    """Bring a file to disk; its entry in the record."""
    sync(file)
    return {"bytes": file.stat().st_size, "sha256": file_sha256(file)}


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

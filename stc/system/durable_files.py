"""Write files that are complete after a crash, and compare files with what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=2**18)
def cached_sha256(path: str, stamp: tuple[int, int]) -> str:
    """Return the digest of a file. A process hashes it once for each ``stamp``, its size and time of change."""
    return file_sha256(Path(path))


def disk_full(error: BaseException) -> bool:
    """Return whether an error means that the disk or a quota is full. safetensors says so only in the text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with its content. Of a link only the link is removed."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def mismatch(file: Path, name: str, entry: Mapping[str, Any], sha256: Callable[[Path], str] = file_sha256) -> str:
    """Return how a file differs from its entry in a record; empty if it does not. Messages call the file ``name``."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            return f"{name} is not a file"
        if found.st_size != entry["bytes"]:
            return f"{name} has {found.st_size} bytes, and {entry['bytes']} were written"
        return "" if sha256(file) == entry["sha256"] else f"{name} has another checksum than what was written"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return f"{name} is missing"
        raise


def write_atomically(file: Path, text: str) -> None:
    """Write a text file so that readers, and a crash, find either the old content or the new one."""
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(8)}")  # two machines may have the same process id
    try:
        temporary.write_text(text, encoding="utf-8")
        fsync(temporary)  # without it, the file may be empty after a power cut
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def make_durable(file: Path) -> dict[str, Any]:
    """Bring a file to disk, give it the permissions of its folder, and return its entry for the record.

    safetensors writes files that only their owner may read, which nobody else could use in a shared store.
    """
    found = file.stat()
    if found.st_nlink == 1:  # a hard link to audio elsewhere keeps its own permissions
        file.chmod(file.parent.stat().st_mode & 0o666)
    fsync(file)
    return {"bytes": found.st_size, "sha256": file_sha256(file)}


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

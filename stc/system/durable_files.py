"""Files written so that they are there whole after a crash, and compared with what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_full(error: BaseException) -> bool:
    """Whether an error is that a disk, or one's share of it, is full; safetensors raises one of its own, by text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def remove_tree(path: Path) -> None:
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
        fsync(beside)  # or after a power cut the file may be there and empty
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def make_durable(file: Path) -> dict[str, Any]:
    """Bring a file to disk, to be read and written by whoever may read and write its folder; its entry in the record.

    safetensors keeps what it writes to its owner, which in a store that several people share nobody else could use.
    """
    found = file.stat()
    if found.st_nlink == 1:  # else it is a sound that lies elsewhere as well, with permissions of its own
        file.chmod(file.parent.stat().st_mode & 0o666)
    fsync(file)
    return {"bytes": found.st_size, "sha256": file_sha256(file)}


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Decide which folders are stores, and which may become one. Other folders are neither written to nor tidied up.

A store has a marker, the first file that is written. A store from before there were markers is recognized by a result
or a table of checksums that stc wrote, and gets its marker when it is next written to.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from stc.errors import InputError
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.files import HashTable
from stc.store.identity import is_identity
from stc.store.records import read_store_record
from stc.system.durable_files import fsync
from stc.system.paths import ROOT
from stc.system.read_files import read_json

MARKER = "stc.store"
HASHES_FILE = "hashes.json"

_TEXT = "This folder is a store of stc: results by identity. docs/store.md says what is in it.\n"
_NEEDED = "use a folder of its own"
_IGNORED_NAMES = {"lost+found", ".snapshot", ".zfs", ".DS_Store"}  # made by file systems and desktops


def is_store(folder: Path) -> bool:
    """Return whether a folder is a store that stc has written to."""
    return (folder / MARKER).is_file() or _is_store_without_marker(folder)


def store_folder_fault(folder: Path) -> str:
    """Return why a folder cannot be a store; empty if it is one, is empty, or does not exist."""
    folder = Path(os.path.realpath(folder))
    special = {
        Path(folder.anchor): "the root of the file system",
        Path(os.path.realpath(os.path.expanduser("~"))): "the home folder",
        Path(os.path.realpath(ROOT)): "the folder of stc itself",
    }
    if folder in special:
        return f"is {special[folder]}: {_NEEDED}"
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        return f"{'is' if there == folder else f'lies below {there}, which is'} no folder: {_NEEDED}"
    if there != folder:
        return ""
    try:
        names = sorted(set(os.listdir(folder)) - _IGNORED_NAMES)
        if is_store(folder):  # asked after listing: another process may just have made it
            return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except InputError as error:
        return f"cannot be read: {error}"
    if folder == Path.cwd():
        return f"is the current folder: {_NEEDED}"
    some = ", ".join(names[:3]) + " …" * (len(names) > 3)
    return f"is no store of stc and has other things in it ({some}): {_NEEDED}" if names else ""


def run_folder_conflict(folder: Path, output: Path) -> str:
    """Return why a folder that is no store yet cannot become one: a run makes its ``output`` folder in it first. Empty
    if ``output`` lies elsewhere or the folder is a store."""
    folder = Path(os.path.realpath(folder))
    if not Path(os.path.realpath(output)).is_relative_to(folder) or is_store(folder):
        return ""
    return f"is no store of stc, and the folder of the run, {output}, would be in it: {_NEEDED}"


def mark_as_store(folder: Path) -> None:
    """Make a folder a store, if it is none yet. Raise OSError if it cannot be written to."""
    if not (folder / MARKER).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (folder / MARKER).open("x", encoding="utf-8") as file:  # another process's
            file.write(_TEXT)
        fsync(folder)


def identities_in(folder: Path, end: str = "") -> list[str]:
    """Return the identities that have a file or folder, named with this ``end``, in a folder of a store."""
    try:
        names = [name.removesuffix(end) for name in os.listdir(folder) if name.endswith(end)]
        return sorted(name for name in names if is_identity(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_store_without_marker(folder: Path) -> bool:
    with suppress(FileNotFoundError, InputError):
        if read_json(folder / HASHES_FILE, HashTable):
            return True
    results = ((kind, identity) for kind in Kind for identity in identities_in(folder / kind.value))
    return any(read_store_record(folder / kind / one / RECORD_FILE, kind, one)[0] is not None for kind, one in results)

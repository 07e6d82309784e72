"""Every file of a store read again and compared with its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stc.console import progress
from stc.store.files import mismatch
from stc.store.inventory import Entry, Inventory
from stc.store.records import read_record


def damaged(inventory: Inventory) -> Iterator[tuple[Entry, str]]:
    """The artifacts that are not what was written, each with what is wrong."""
    whole = [entry for entry in inventory.entries if not entry.evicted]
    with progress("verifying", total=sum(one.bytes for one in whole), unit="B") as bar:
        for entry in whole:
            if found := fault(entry.folder):
                yield entry, found
            bar.update(entry.bytes)


def fault(folder: Path) -> str:
    """What is wrong with an artifact's files, each of which is read; empty where nothing is."""
    record, why = read_record(folder)
    if record is None:
        return why
    files = record["files"]
    with ThreadPoolExecutor() as pool:
        faults = pool.map(_fault, (folder / name for name in files), files.values())
        return next(filter(None, faults), "")


def _fault(file: Path, written: dict[str, object]) -> str:
    try:
        return mismatch(file, file.name, written)
    except OSError as error:  # a disk that fails
        return f"{file.name} cannot be read: {error.strerror}"

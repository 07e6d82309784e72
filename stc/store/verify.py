"""Reads every file of a store again and compares it with its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stc.store.artifact import RECORD_FILE
from stc.store.files import unlisted_file
from stc.store.inventory import Inventory, InventoryEntry
from stc.store.records import read_store_record
from stc.system.console import progress
from stc.system.durable_files import mismatch


def find_damaged(inventory: Inventory) -> Iterator[tuple[InventoryEntry, str]]:
    """Yield the artifacts that differ from what was written, each with what is wrong."""
    whole = [entry for entry in inventory.entries if not entry.evicted]
    with progress("verifying", total=sum(one.bytes for one in whole), unit="B") as bar:
        for entry in whole:
            if found := artifact_fault(entry.folder):
                yield entry, found
            bar.update(entry.bytes)


def find_unlisted_files(inventory: Inventory) -> Iterator[tuple[InventoryEntry, Path]]:
    """Yield the artifacts whose folders have a file that stc did not write, each with the first such file."""
    for entry in inventory.entries:
        if entry.record is not None and (name := unlisted_file(entry.folder, entry.record["files"])):
            yield entry, entry.folder / name


def artifact_fault(folder: Path) -> str:
    """Read an artifact's files. Return what is wrong with them; empty if nothing is."""
    record, why = read_store_record(folder / RECORD_FILE, folder.parent.name, folder.name)
    if record is None:
        return why
    files = record["files"]
    with ThreadPoolExecutor() as pool:
        faults = pool.map(_file_fault, (folder / name for name in files), files.values())
        return next(filter(None, faults), "")


def _file_fault(file: Path, written: dict[str, object]) -> str:
    try:
        return mismatch(file, file.name, written)
    except OSError as error:  # a disk that fails
        return f"{file.name} cannot be read: {error.strerror}"

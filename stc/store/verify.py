"""Every file of a store read again and compared with its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stc.console import progress
from stc.data.manifest import file_sha256
from stc.store.inventory import Entry, Inventory


def damaged(inventory: Inventory) -> Iterator[tuple[Entry, str]]:
    """The artifacts that are not what was written, each with what is wrong."""
    whole = [entry for entry in inventory.entries if not entry.evicted]
    with ThreadPoolExecutor() as pool, progress("verifying", total=sum(one.bytes for one in whole), unit="B") as bar:
        for entry in whole:
            if entry.record is None:
                yield entry, entry.fault
                continue
            files = entry.record["files"]
            faults = pool.map(_fault, (entry.folder / name for name in files), files.values())
            if fault := next(filter(None, faults), ""):
                yield entry, fault
            bar.update(entry.bytes)


def _fault(file: Path, written: dict[str, object]) -> str:
    try:
        size = file.stat().st_size
        if size != written["bytes"]:
            return f"{file.name} has {size} bytes, {written['bytes']} were written"
        same = file_sha256(file) == written["sha256"]
    except FileNotFoundError:
        return f"{file.name} is missing"
    except OSError as error:  # a disk that fails
        return f"{file.name} cannot be read: {error.strerror}"
    return "" if same else f"{file.name} is not what was written (checksum)"

"""The artifacts of a store, the inputs of each, and what was made from it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stc.errors import InputError, suggestion
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.files import list_files
from stc.store.location import identities_in
from stc.store.records import read_store_record

SHORT = 8  # digits of an identity that are shown


@dataclass(frozen=True)
class InventoryEntry:
    """An artifact of a store, whole or evicted. Without a record, all that follows ``made`` has its default.

    Attributes:
        record: None if it is damaged.
        fault: what is wrong with the record.
        made: in seconds since 1970.
        name: of the stage in the run that made it.
        seconds: that it took to make.
        bytes: of its files; for an evicted artifact, of those it had.
        evicted: when its files were deleted to free space; empty if they are there.
        inputs: the identity of each input; for an input known by facts, those facts.
    """

    kind: Kind
    identity: str
    folder: Path
    record: Mapping[str, Any] | None
    fault: str
    made: float
    name: str = "?"
    seconds: float = 0.0
    bytes: int = 0
    evicted: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.identity[:SHORT]} {self.kind.value} {self.name}"


class Inventory:
    """The artifacts of a store, oldest first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.entries = sorted(_entries(store), key=lambda entry: entry.made)
        self._by_identity = {entry.identity: entry for entry in self.entries}

    def find(self, given: str) -> InventoryEntry:
        """Return the artifact whose identity begins with these digits. Raise InputError if none or several do."""
        found = [entry for entry in self.entries if entry.identity.startswith(normalize_prefix(given))]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(entry.label for entry in found[:5])
            raise InputError(f"{given} is the beginning of {len(found)} identities: {several}")
        near = suggestion(given, [entry.identity[: len(given)] for entry in self.entries])
        raise InputError(f"{given}: nothing in {self.store.root} has that identity{near}")

    def inputs_of(self, entry: InventoryEntry) -> Iterator[tuple[str, str, InventoryEntry | None]]:
        """Yield the inputs of an artifact: name, what the record says of it, and the artifact if the store has it."""
        for key, value in entry.inputs.items():
            if isinstance(value, str):
                yield key, value[:SHORT], self._by_identity.get(value)
            else:
                facts = ", ".join(f"{fact} {found}" for fact, found in value.items())
                found = (one for one in self.entries if _is_ranking_with(one, value))
                yield key, f"any with {facts}", next(found, None)

    def uses_of(self, entry: InventoryEntry) -> list[InventoryEntry]:
        """Return the artifacts whose inputs name this artifact or a fact of it."""
        return [
            one
            for one in self.entries
            if any(
                value == entry.identity or (isinstance(value, dict) and _is_ranking_with(entry, value))
                for value in one.inputs.values()
            )
        ]


def normalize_prefix(given: str) -> str:
    """Return the beginning of an identity, as a user may have copied it, in the form of identities."""
    return given.lower().rstrip("…")


def _is_ranking_with(entry: InventoryEntry, wanted: Mapping[str, Any]) -> bool:
    """Return whether an artifact is a ranking, the kind known by its facts, and has these."""
    facts = entry.record["facts"] if entry.record is not None and entry.kind is Kind.RANKING else None
    return facts is not None and all(facts.get(key) == value for key, value in wanted.items())


def _entries(store: Store) -> Iterator[InventoryEntry]:
    for kind in Kind:
        there = store.identities(kind)
        for identity in there:
            folder = store.path(kind, identity)
            yield _entry(kind, identity, folder, folder / RECORD_FILE)
        evicted = store.root / "evicted" / kind.value
        for identity in identities_in(evicted, ".json"):
            if identity not in there:
                yield _entry(kind, identity, store.path(kind, identity), evicted / f"{identity}.json")


def _entry(kind: Kind, identity: str, folder: Path, file: Path) -> InventoryEntry:
    record, fault = read_store_record(file, kind, identity)
    made = next((one.lstat().st_mtime for one in (file, folder) if os.path.lexists(one)), 0.0)  # may go meanwhile
    if record is None:
        return InventoryEntry(kind, identity, folder, None, fault, made)
    return InventoryEntry(
        kind,
        identity,
        folder,
        record,
        fault,
        made,
        name=record.get("name", "?"),
        seconds=record.get("seconds", 0.0),
        bytes=sum(file["bytes"] for file in record["files"].values()),
        evicted=record.get("evicted", ""),
        inputs=record["spec"]["inputs"],
    )


class DiskUsage:
    """The disk space that folders use: the bytes that are free once all of them are gone.

    A manifest's audio mostly has another name elsewhere, in the data it was made from or in another manifest. A file is
    free when the last of its names is gone; one with a name outside the folders never is.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._names: Counter[tuple[int, int]] = Counter()  # (device, inode) → its names in the folders
        self._sizes: dict[tuple[int, int], int] = {}
        links = {}
        for folder in folders:
            for stat in _stats(folder):
                file = stat.st_dev, stat.st_ino
                self._names[file] += 1
                self._sizes[file], links[file] = stat.st_size, stat.st_nlink
        for file, count in links.items():
            if count > self._names[file]:
                self._sizes[file] = 0

    @property
    def bytes(self) -> int:
        return sum(self._sizes.values())

    def remove(self, folder: Path) -> int:
        """Count a folder as gone. Return the bytes that this frees."""
        freed = 0
        for stat in _stats(folder):
            file = stat.st_dev, stat.st_ino
            self._names[file] -= 1
            if not self._names[file]:
                freed += self._sizes.pop(file)
        return freed


def _stats(folder: Path) -> Iterator[os.stat_result]:
    if folder.is_symlink():
        return  # its target stays where it is
    for name in [*list_files(folder), RECORD_FILE]:
        if (folder / name).is_file():
            yield (folder / name).stat()

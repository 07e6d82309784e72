"""Making room in a store: what can go, in which order, and what never does.

Left-overs go first: what was set aside as damaged, what a killed process was writing, scratch of results that are there
or that nobody has gone on with for a week. Then weights are evicted: the files go, the record stays, and a run that
needs the files makes them anew. Scores, measurements, rankings, translations and tables are small and never go.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.errors import InputError, nearest
from stc.job import RESULT_FILE
from stc.stage import Kind
from stc.store import Store
from stc.store.inventory import Disk, Entry, Inventory

EVICTED = (Kind.FEATURES, Kind.LOGITS, Kind.ADAPTER, Kind.MODEL, Kind.MANIFEST)
"""Kinds whose files may go."""

RECENT = 3600.0  # seconds: a process that works writes more often
STALE = 7 * 24 * 3600.0  # of scratch that nobody has gone on with


@dataclass(frozen=True)
class Leftover:
    """A folder that is no result."""

    path: Path
    what: str
    bytes: int


@dataclass(frozen=True)
class Eviction:
    """An artifact whose files go, and the bytes that sets free."""

    entry: Entry
    bytes: int


@dataclass(frozen=True)
class Collection:
    """What is to go, in this order, and the size of the store before and after."""

    leftovers: Sequence[Leftover]
    evictions: Sequence[Eviction]
    before: int
    after: int


def in_use(store: Store, identity: str) -> bool:
    """Whether a process makes this artifact at the moment: it is alive on this machine, or has written of late."""
    folders = [*(store.root / ".building").glob(f"{identity}.*"), store.root / ".scratch" / identity]
    return any(_alive(folder) or time.time() - _touched(folder) < RECENT for folder in folders if folder.exists())


def at_work(store: Store) -> list[str]:
    """The identities of what is being made."""
    started = {folder.name.split(".")[0] for folder in (store.root / ".building").glob("*")}
    return sorted(identity for identity in started if in_use(store, identity))


def collect(inventory: Inventory, keep: Sequence[str], limit: int | None) -> Collection:
    """What to let go so that the store takes at most ``limit`` bytes; with None, everything that may and is not kept.

    Args:
        keep: kinds, run folders and identities whose files stay. With neither these nor a limit only left-overs go.

    Raises:
        InputError: an item of ``keep`` is none of these.
    """
    store = inventory.store
    entries = [entry for entry in inventory.entries if not entry.evicted]
    kept = {entry.identity for item in keep for entry in _named(inventory, item)}
    disk = Disk(entry.folder for entry in entries)
    before = disk.bytes
    leftovers = list(_leftovers(store))
    evictions: list[Eviction] = []
    candidates = _ordered(inventory, entries) if keep or limit is not None else []
    for entry in candidates:
        if limit is not None and disk.bytes <= limit:
            break
        if entry.identity not in kept and not in_use(store, entry.identity):
            evictions.append(Eviction(entry, disk.without(entry.folder)))
    extra = sum(leftover.bytes for leftover in leftovers)
    return Collection(leftovers, evictions, before + extra, disk.bytes)


def carry_out(store: Store, collection: Collection) -> None:
    for leftover in collection.leftovers:
        shutil.rmtree(leftover.path, ignore_errors=True)
    for eviction in collection.evictions:
        store.evict(eviction.entry.kind, eviction.entry.identity)


def _ordered(inventory: Inventory, entries: Sequence[Entry]) -> list[Entry]:
    """By what would be missed least: caches, then models nothing was scored on, then the others, then manifests; of
    equals first what is made again in the least time for its size."""
    scored = {
        identity
        for entry in entries
        if entry.kind in (Kind.SCORES, Kind.MEASUREMENT, Kind.COMPARISON)
        for key, identity in entry.inputs.items()
        if key.split(".")[0] in ("model", "models") and isinstance(identity, str)
    }

    def rank(entry: Entry) -> tuple[int, float]:
        if entry.kind is Kind.MANIFEST:
            group = 3
        elif entry.kind in (Kind.FEATURES, Kind.LOGITS):
            group = 0
        else:
            group = 2 if entry.identity in scored else 1
        return group, entry.seconds / max(entry.bytes, 1)

    return sorted((entry for entry in entries if entry.kind in EVICTED and entry.record is not None), key=rank)


def _named(inventory: Inventory, item: str) -> Iterator[Entry]:
    """The artifacts that an item of ``--keep`` means."""
    if item in list(Kind):
        yield from (entry for entry in inventory.entries if entry.kind == item)
    elif (folder := Path(item)).is_dir():
        results = sorted(folder.rglob(RESULT_FILE))
        if not results:
            raise InputError(f"--keep {item}: no run's folder, there is no {RESULT_FILE} in it")
        used = {stage["identity"] for file in results for stage in _stages(file)}
        yield from (entry for entry in inventory.entries if entry.identity in used)
    elif len(item) >= 4 and set(item) <= set("0123456789abcdef"):
        yield inventory.find(item)
    else:
        kinds = [kind.value for kind in Kind]
        allowed = f"a kind ({', '.join(kinds)}), a run's folder or an identity"
        raise InputError(f"--keep {item}: {allowed} is needed{nearest(item, kinds)}")


def _stages(file: Path) -> list[dict[str, str]]:
    try:
        return list(json.loads(file.read_text(encoding="utf-8")).get("stages", []))
    except ValueError as error:
        raise InputError(f"{file} is no result of a run: {error}") from None


def _leftovers(store: Store) -> Iterator[Leftover]:
    def sized(folder: Path, what: str) -> Leftover:
        return Leftover(folder, what, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))

    for folder in sorted((store.root / ".damaged").glob("*")):
        yield sized(folder, "damaged")
    for folder in sorted((store.root / ".going").glob("*")):
        yield sized(folder, "half deleted")
    for folder in sorted((store.root / ".building").glob("*")):
        if not in_use(store, folder.name.split(".")[0]):
            yield sized(folder, "left by a process that was killed")
    for folder in sorted((store.root / ".scratch").glob("*")):
        finished = any((store.root / kind.value / folder.name).exists() for kind in Kind)
        if finished and not in_use(store, folder.name):
            yield sized(folder, "scratch of a finished result")
        elif time.time() - _touched(folder) > STALE:
            yield sized(folder, "scratch nobody has gone on with for a week")


def _alive(building: Path) -> bool:
    """Whether the process whose number a folder's name ends in is there."""
    number = building.name.rpartition(".")[2]
    if building.parent.name != ".building" or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _touched(folder: Path) -> float:
    """When anything in a folder was last written."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))

"""Frees space in a store: what can be deleted, in which order, and what never is.

Leftovers go first: damaged results that were set aside, what a process was writing when it died, and scratch of results
that are finished or that nobody has worked on for a week. Each is removed under the lease of its result, so that no
process can be using it. Then weights are evicted: the files go, the record stays, and a run that needs the files makes
them anew. Scores, measurements, rankings, translations and tables are small and never go.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stc.errors import InputError, StcError, suggestion
from stc.store import MadeElsewhere, Store
from stc.store.artifact import WEIGHTS, Kind
from stc.store.files import unlisted_file
from stc.store.identity import is_identity
from stc.store.inventory import SHORT, DiskUsage, Inventory, InventoryEntry
from stc.store.location import identities_in
from stc.store.needs import runs_at_work
from stc.store.run_result import RESULT_FILE, Result
from stc.system.durable_files import remove_tree
from stc.system.read_files import read_json

EVICTABLE_KINDS = (*WEIGHTS, Kind.MANIFEST)
"""The kinds whose files may be deleted."""

STALE_DAYS = 7
"""Scratch, which may hold the checkpoints of a training, is deleted after so long without a change."""

DAY = 24 * 3600.0
_KILLED = "left by a process that was killed"


@dataclass(frozen=True)
class Leftover:
    """Files that are no result. ``remove`` raises MadeElsewhere if a process uses them again; None if they stay."""

    what: str
    name: str
    bytes: int
    remove: Callable[[], None] | None


@dataclass(frozen=True)
class CollectionPlan:
    """A plan of what is deleted, in order, of the scratch that stays, and of the store's bytes before and after.

    ``evictions`` are the artifacts whose files are deleted, each with the bytes that this frees.
    """

    leftovers: Sequence[Leftover]
    staying: Sequence[Leftover]
    evictions: Sequence[tuple[InventoryEntry, int]]
    before: int
    after: int


def plan_collection(inventory: Inventory, keep: Sequence[str], limit: int | None) -> CollectionPlan:
    """Return what to delete so that the store has at most ``limit`` bytes; with None, all that may go and is not kept.

    Args:
        keep: kinds, run folders and identities whose files stay. With neither ``keep`` nor a limit only leftovers go.

    Raises:
        InputError: an item of ``keep`` is none of these.
    """
    store = inventory.store
    making = store.active_holders()
    entries = [entry for entry in inventory.entries if not entry.evicted]
    wanted = {entry.identity for item in keep for entry in _kept_entries(inventory, item)}.union(making)
    disk = DiskUsage(entry.folder for entry in entries)
    leftovers = list(_leftovers(store, making))
    staying = [one for one in leftovers if one.remove is None]
    before = disk.bytes + sum(one.bytes for one in leftovers)
    stays = sum(one.bytes for one in staying)
    evictions: list[tuple[InventoryEntry, int]] = []
    candidates = _ordered(entries) if keep or limit is not None else []
    for entry in candidates:
        if limit is not None and disk.bytes + stays <= limit:
            break
        if entry.identity not in wanted:
            evictions.append((entry, disk.remove(entry.folder)))
    going = [one for one in leftovers if one.remove is not None]
    return CollectionPlan(going, staying, evictions, before, disk.bytes + stays)


def apply_collection(store: Store, collected: CollectionPlan) -> Iterator[tuple[str, int]]:
    """Delete what is planned. Yield the reason and the bytes of what has to stay after all.

    Raises:
        StcError: a run works in the store. By then leftovers are gone, and what was evicted before it began.
    """
    for leftover in collected.leftovers:
        try:
            assert leftover.remove is not None
            leftover.remove()
        except MadeElsewhere as elsewhere:
            yield str(elsewhere), leftover.bytes
    for number, (entry, freed) in enumerate(collected.evictions):
        making = [f"{one.who} makes {identity[:SHORT]}" for identity, one in sorted(store.active_holders().items())]
        if at_work := making or runs_at_work(store):
            raise StcError(
                f"a run works in {store.root} ({', '.join(at_work)}), and may use what would be deleted: {number} of "
                f"{len(collected.evictions)} results were evicted; try again after it"
            )
        try:
            store.evict(entry.kind, entry.identity)
        except MadeElsewhere as elsewhere:
            yield str(elsewhere), freed


def _ordered(entries: Sequence[InventoryEntry]) -> list[InventoryEntry]:
    """Return the evictable artifacts, the least missed first: caches, models without scores, other models, manifests.
    Within these, the one that takes the least time per byte to make again comes first."""
    scored = {
        identity
        for entry in entries
        if entry.kind in (Kind.SCORES, Kind.MEASUREMENT, Kind.COMPARISON)
        for key, identity in entry.inputs.items()
        if key.split(".")[0] in ("model", "models") and isinstance(identity, str)
    }

    def rank(entry: InventoryEntry) -> tuple[int, float]:
        groups = {Kind.FEATURES: 0, Kind.LOGITS: 0, Kind.MANIFEST: 3}
        group = groups.get(entry.kind, 2 if entry.identity in scored else 1)
        return group, entry.seconds / max(entry.bytes, 1)

    return sorted((entry for entry in entries if entry.kind in EVICTABLE_KINDS and _is_evictable(entry)), key=rank)


def _is_evictable(entry: InventoryEntry) -> bool:
    """Return whether stc wrote everything in an artifact's folder, and the folder is no link."""
    if entry.record is None or entry.folder.is_symlink():
        return False
    return not unlisted_file(entry.folder, entry.record["files"])


def _kept_entries(inventory: Inventory, item: str) -> Iterator[InventoryEntry]:
    """Yield the artifacts that an item of ``--keep`` means."""
    if item in list(Kind):
        yield from (entry for entry in inventory.entries if entry.kind == item)
    elif (folder := Path(item)).is_dir():
        results = sorted(folder.rglob(RESULT_FILE))
        if not results:
            raise InputError(f"--keep {item}: is no folder of a run: there is no {RESULT_FILE} in it")
        used = {stage["identity"] for file in results for stage in read_json(file, Result).get("stages", [])}
        yield from (entry for entry in inventory.entries if entry.identity in used)
    elif len(item) >= 4 and set(item) <= set("0123456789abcdef"):
        yield inventory.find(item)
    else:
        kinds = [kind.value for kind in Kind]
        allowed = f"a kind ({', '.join(kinds)}), a run's folder or an identity"
        raise InputError(f"--keep {item}: {allowed} is needed{suggestion(item, kinds)}")


def _leftovers(store: Store, making: Collection[str]) -> Iterator[Leftover]:
    """Yield what is there besides results and what is being made."""
    for name, what in ((".damaged", "damaged"), (".going", "half deleted")):
        for folder in sorted((store.root / name).glob("*.*")):
            if is_identity(folder.name.partition(".")[0]):
                yield Leftover(what, folder.name, _size([folder]), partial(remove_tree, folder))
    begun, parked = store.root / ".building", store.root / ".scratch"
    names = {folder.name.partition(".")[0] for folder in begun.glob("*.*")}.union(identities_in(parked))
    for identity in sorted(filter(is_identity, names.difference(making))):
        folders = list(begun.glob(f"{identity}.*"))
        scratch = [one for one in (*begun.glob(f"{identity}.*/*/scratch"), parked / identity) if one.is_dir()]
        resumable = _size(scratch)
        if folders:
            written = _size(folders) - sum(_size([one]) for one in scratch if one != parked / identity)
            yield Leftover(_KILLED, identity, written, partial(store.remove_leftovers, identity, scratch=False))
        if scratch:
            remove = partial(store.remove_leftovers, identity, scratch=True)
            days = (time.time() - max(map(_last_change, scratch))) / DAY
            if any((store.root / kind.value / identity).exists() for kind in Kind):
                yield Leftover("scratch of a finished result", identity, resumable, remove)
            elif days > STALE_DAYS:
                yield Leftover(f"scratch not changed for {STALE_DAYS} days", identity, resumable, remove)
            else:
                yield Leftover(f"scratch changed {24 * days:.0f} h ago", identity, resumable, None)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield the stat of a folder and of everything in it that is not gone meanwhile."""
    for parent, _, names in os.walk(folder):
        for name in (".", *names):
            with suppress(FileNotFoundError):
                yield (Path(parent) / name).lstat()


def _size(folders: Iterable[Path]) -> int:
    return sum(one.st_size for folder in folders for one in _stats(folder) if not stat.S_ISDIR(one.st_mode))


def _last_change(folder: Path) -> float:
    """Return when anything in a folder was last written."""
    return max((one.st_mtime for one in _stats(folder)), default=0.0)

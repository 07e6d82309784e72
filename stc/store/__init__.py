"""Artifacts by identity. Knows nothing of stages.

    <store>/stc.store                 the marker, by which a store is known as one
    <store>/<kind>/<identity>/        a finished artifact and its record, stc.record.json
    <store>/.building/…               being written under a lease (leases.py); renamed into place when whole
    <store>/.scratch/<identity>/      what a stage keeps for itself across a crash, while none is at work on it
    <store>/.damaged/…                set aside because a checksum did not hold
    <store>/.going/…                  on its way to be deleted
    <store>/evicted/<kind>/<identity>.json   the record of an artifact whose files were given up for space
    <store>/generations/<identity>    how often a result was made anew on purpose
    <store>/hashes.json               sha256 of files by path, size and time of change, so each is read once

Invariants: an artifact is whole or absent; whoever reads one has had its checksums compared; a damaged one is
never used. Any number of processes may work on a store, on one machine or on several: an artifact is put in its
place, a damaged one set aside, and one evicted, by the holder of its lease only. Nothing is ever put in the place of
another. An evicted artifact is absent; its record stays. What has a name that stc gives nothing is left alone.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from stc.errors import InputError, StcError
from stc.store.artifact import RECORD_FILE, Artifact, Kind
from stc.store.files import FileHashes, list_files, unlisted_file
from stc.store.leases import SECONDS, Lease, LeaseHolder, Leases, MadeElsewhere
from stc.store.location import HASHES_FILE, identities_in, mark_as_store, store_folder_fault
from stc.store.records import (
    flatten,
    identity_of,
    is_identity,
    read_record,
    read_store_record,
    serialize_record,
    shorten,
)
from stc.system.durable_files import disk_full, fsync, make_durable, mismatch, remove_tree, write_atomically
from stc.system.read_files import read_json

__all__ = ["LeaseHolder", "MadeElsewhere", "Store", "identity_of"]

ABSENT = "not in the store"
"""Why :meth:`Store.get` has nothing, where there is nothing."""


class Store:
    """Artifacts under one folder, which is made when first written to.

    Args:
        lease_seconds: after how long without a heartbeat the maker of an artifact is taken for dead.

    Raises:
        InputError: the folder can be no store (:func:`stc.store.location.store_folder_fault`).
    """

    def __init__(self, root: Path, lease_seconds: float = SECONDS) -> None:
        self.root = Path(os.path.realpath(root))
        if fault := store_folder_fault(self.root):
            raise InputError(f"{root} {fault} (store.dir, --store)")
        self._hashes = FileHashes(self.root / HASHES_FILE)
        self._leases = Leases(self.root, lease_seconds)
        self._held: dict[str, Lease] = {}

    def path(self, kind: Kind, identity: str) -> Path:
        return self.root / kind.value / identity

    def record(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        """The record of an artifact, evicted or not, or None where there is none or it is damaged."""
        folder = self.path(kind, identity)
        record, _ = read_store_record(folder / RECORD_FILE, kind, identity)
        return record if record is not None or os.path.lexists(folder) else self._evicted(kind, identity)

    def identities(self, kind: Kind) -> list[str]:
        """Return the identities of the artifacts that are in their places, whole or damaged."""
        return identities_in(self.root / kind.value)

    def get(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """A checked artifact, or None and why: it is absent, or it was damaged and has been set aside."""
        found, why = self.inspect(kind, identity)
        if found is not None:
            self._leases.remove_dead_lease(identity)
        if found is not None or not os.path.lexists(self.path(kind, identity)):
            return found, why
        try:
            aside = self.set_aside(kind, identity, lambda folder: self.inspect(kind, identity)[1])
        except MadeElsewhere as elsewhere:
            return None, f"{why}; {elsewhere}"
        return (None, f"{why}; set aside as {aside}") if aside else self.inspect(kind, identity)

    def set_aside(self, kind: Kind, identity: str, fault: Callable[[Path], str]) -> Path | None:
        """Take a damaged artifact out of use; where it is now, or None if it has gone or been made anew meanwhile.

        Args:
            fault: what is wrong with its folder; asked again when nobody else can change it any more.

        Raises:
            MadeElsewhere: another process is at it.
        """
        folder = self.path(kind, identity)
        with self._claim(identity):
            if not os.path.lexists(folder) or not fault(folder):
                return None
            aside = self.root / ".damaged" / f"{identity}.{time.time_ns()}"
            with self._writing():
                aside.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(aside)
            return aside

    def evict(self, kind: Kind, identity: str) -> None:
        """Give up an artifact's files for space. Its record stays, and says so; a run that needs the files makes them
        anew under the same identity, and what was made of them stays valid.

        Raises:
            MadeElsewhere: another process is at it.
            StcError: the artifact is not there, its record is damaged, or something is in its folder that it does not
                list.
        """
        folder = self.path(kind, identity)
        going = self.root / ".going" / f"{identity}.{secrets.token_hex(8)}"
        with self._claim(identity):
            record, fault = read_store_record(folder / RECORD_FILE, kind, identity)
            if record is None:
                raise StcError(f"{folder} cannot be evicted: {fault}")
            if other := unlisted_file(folder, record["files"]):
                raise StcError(f"{folder} cannot be evicted: {other} in it was not written by stc")
            remembered = self._evicted_file(kind, identity)
            with self._writing():
                for parent in (remembered.parent, going.parent):
                    parent.mkdir(parents=True, exist_ok=True)
                write_atomically(
                    remembered, serialize_record({**record, "evicted": time.strftime("%Y-%m-%d %H:%M:%S")})
                )
                folder.rename(going)
        remove_tree(going)

    def remove_leftovers(self, identity: str, *, scratch: bool) -> None:
        """Remove what makers that died have left of an artifact, and with ``scratch`` also what the next would go on
        with.

        Raises:
            MadeElsewhere: its maker is alive.
        """
        with self._claim(identity) as lease:
            lease.published = scratch

    def inspect(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """A checked artifact, or None and why; a damaged one is left where it is.

        Raises:
            InputError: a file of it may not be read, or there is one that its record does not list: what would be
                loaded is not what was written, and what somebody else put there is not stc's to move.
        """
        folder = self.path(kind, identity)
        if not os.path.lexists(folder):
            evicted = self._evicted(kind, identity)
            return None, f"evicted on {evicted.get('evicted', '?')}" if evicted else ABSENT
        record, fault = read_store_record(folder / RECORD_FILE, kind, identity)
        if record is not None:
            fault = self._fault(folder, record["files"])
        if record is None or fault:
            return None, f"damaged: {fault}"
        if other := unlisted_file(folder, record["files"]):
            raise InputError(f"{folder / other} was not written by stc: move it out of the store")
        return Artifact(kind, folder, identity, record["facts"]), ""

    def holder(self, identity: str) -> LeaseHolder | None:
        """The process that is making an artifact, or has died over it; None where there is none."""
        return self._leases.holder(identity)

    def active_holders(self) -> dict[str, LeaseHolder]:
        """The processes that are making something, by its identity. Where only a heartbeat can tell whether one is
        alive, it is waited for."""
        return self._leases.alive_holders()

    def external_artifact(self, kind: Kind, folder: Path) -> Artifact:
        """A folder from outside as an artifact, identified by the content of its files.

        Raises:
            InputError: it is not a folder, or it carries a record that is damaged, that a file differs from, or that is
                of another result than the folder's name says or of another kind.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder (a {kind.value} is expected there)")
        facts: dict[str, Any] = {}
        if os.path.lexists(folder / RECORD_FILE):
            record, fault = read_record(folder / RECORD_FILE)
            if record is not None:
                fault = _misnamed(folder, kind, record) or self._fault(folder, record["files"])
                facts = record["facts"]
            if fault:
                raise InputError(f"{folder} is damaged: {fault}")
        # Every file counts, wanted or not: which ones transformers reads (tokenizer, templates, processor) depends on
        # its version and on the others, and a list of ours that misses one would call two different models the same.
        digests = {name: self.sha256(folder / name) for name in list_files(folder)}
        self._save_hashes()
        return Artifact(kind, folder, identity_of({"external": kind.value, "files": digests}), facts)

    def sha256(self, file: Path) -> str:
        """Return the digest of a file, which is read again only when it has changed.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return self._hashes.sha256(file)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None

    def scratch(self, identity: str) -> Path:
        """The scratch folder of an artifact, within its :meth:`publish`: it belongs to the lease."""
        folder = self._held[identity].scratch
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def publish(self, kind: Kind, identity: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yields an empty folder to fill and a record to complete; at the end both appear under ``identity``.

        Nothing appears if the block raises or the process dies. The record needs ``facts``, and ``spec``, which
        ``identity`` is the identity of; ``kind``, ``identity``, ``files`` and the record's own checksum are added.

        Raises:
            MadeElsewhere: another process is making the artifact, has made it, or has taken the lease over meanwhile.
            StcError: the disk is full, or cannot be written to.
        """
        with self._claim(identity) as lease:
            if os.path.lexists(self.path(kind, identity)):
                lease.published = True
                raise MadeElsewhere(f"{identity} has been made by another process")
            self._held[identity] = lease
            record: dict[str, Any] = {}
            try:
                lease.artifact.mkdir(parents=True)
                yield lease.artifact, record
                record.update(kind=kind.value, identity=identity)
                with self._writing():
                    self._seal(lease.artifact, record)
                    self._place(lease, self.path(kind, identity))
                    self._evicted_file(kind, identity).unlink(missing_ok=True)
                self._remember(self.path(kind, identity), record["files"])
            except Exception as error:
                if isinstance(error, MadeElsewhere):
                    raise
                if not lease.is_held():  # its folders have gone, so anything may have been raised
                    raise MadeElsewhere(f"the lease of {identity} was taken over by another process") from error
                if disk_full(error):
                    raise StcError(
                        f"no space left for a {kind.value} in {self.root} ({error}): what was finished is kept; free "
                        "some space, or name a folder on another disk (store.dir), and run the same command again"
                    ) from error
                raise
            finally:
                del self._held[identity]

    def _seal(self, building: Path, record: dict[str, Any]) -> None:
        """Complete the record, and bring it and all files to disk."""
        names = list_files(building)
        with ThreadPoolExecutor() as pool:  # a corpus has 100,000 files, and each waits for the disk
            written = pool.map(make_durable, (building / name for name in names))
            record["files"] = dict(zip(names, written, strict=True))
        (building / RECORD_FILE).write_text(serialize_record(record), encoding="utf-8")
        fsync(building / RECORD_FILE)
        for folder in (building, *(path for path in building.rglob("*") if path.is_dir())):
            fsync(folder)

    def _place(self, lease: Lease, target: Path) -> None:
        """Put what was built in its place, unless something is there or the lease has been lost."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if not lease.is_held():
            raise MadeElsewhere(f"the lease of {target.name} was taken over by another process")
        try:
            lease.artifact.rename(target)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                lease.published = True
                raise MadeElsewhere(f"{target.name} has been made by another process") from error
            raise
        lease.published = True
        fsync(target.parent)

    def _remember(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
        for name, entry in files.items():
            self._hashes.remember(folder / name, entry["sha256"])
        self._save_hashes()

    def _save_hashes(self) -> None:
        if self._hashes.unsaved:
            with suppress(OSError):  # a store that can only be read: the files are read again next time
                mark_as_store(self.root)
                self._hashes.save()

    def _claim(self, identity: str) -> Lease:
        with self._writing():
            mark_as_store(self.root)
            return self._leases.claim(identity)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Inside, an error of writing is raised as one that names the store.

        Raises:
            StcError: the store cannot be written to, for another reason than that the disk is full.
        """
        try:
            yield
        except OSError as error:
            if disk_full(error):
                raise
            where = error.filename or self.root
            raise StcError(
                f"the store (store.dir={self.root}) cannot be written to: {where}: {error.strerror}"
            ) from error

    def generation(self, identity: str) -> int:
        """How often the result known as ``identity`` was made anew by force.

        Raises:
            InputError: what says so is damaged. Which result is the one asked for is then not known.
        """
        try:
            return read_json(self.root / "generations" / identity, NonNegativeInt)
        except FileNotFoundError:
            return 0
        except InputError as error:
            raise InputError(f"{error}; without this file the result counts as never made anew") from None

    def set_generation(self, identity: str, generation: int) -> None:
        """Count it as made anew so often; a process that is late does not take back what another has counted."""
        if generation <= self.generation(identity):
            return
        file = self.root / "generations" / identity
        with self._writing():
            mark_as_store(self.root)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, str(generation))

    def why_missing(self, kind: Kind, spec: Mapping[str, Any]) -> str:
        """In what the nearest artifact of the same stage differs from ``spec``, field by field."""
        wanted = flatten(spec)
        best: list[str] | None = None
        for identity in self.identities(kind):
            record, _ = read_store_record(self.path(kind, identity) / RECORD_FILE, kind, identity)
            found = flatten(record["spec"]) if record else {}
            if found.get("stage") != wanted.get("stage"):
                continue
            differing = [
                f"{key} {shorten(found.get(key, 'absent'))} → {shorten(wanted.get(key, 'absent'))}"
                for key in sorted(found.keys() | wanted.keys())
                if found.get(key) != wanted.get(key)
            ]
            if best is None or len(differing) < len(best):
                best = differing
        if best is None:
            return "first of its kind"
        return "differs from the nearest in " + ", ".join(best[:4]) + (" …" if len(best) > 4 else "")

    def _evicted_file(self, kind: Kind, identity: str) -> Path:
        return self.root / "evicted" / kind.value / f"{identity}.json"

    def _evicted(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        return read_store_record(self._evicted_file(kind, identity), kind, identity)[0]

    def _fault(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> str:
        faults = (mismatch(folder / name, name, entry, self._hashes.sha256) for name, entry in files.items())
        try:
            return next(filter(None, faults), "")
        except OSError as error:
            raise InputError(f"{error.filename or folder} cannot be read: {error.strerror}") from None


def _misnamed(folder: Path, kind: Kind, record: Mapping[str, Any]) -> str:
    """What a folder from outside is said to be, and its record says it is not; empty where there is no such thing."""
    if record.get("kind", kind) != kind:
        return f"its record is that of a {record['kind']}; expected there: {kind.value}"
    if is_identity(folder.name) and record.get("identity", folder.name) != folder.name:
        return f"its record is that of another result ({record['identity']})"
    return ""

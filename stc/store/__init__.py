"""The store of artifacts by identity. It knows nothing of stages. docs/architecture.md describes its folders.

Invariants: an artifact is whole or absent; whoever reads one has had its checksums compared; a damaged one is never
used. Any number of processes may work on a store, on one or several machines: only the holder of an artifact's lease
puts it in its place, sets it aside or evicts it. Nothing ever replaces another artifact. An evicted artifact is absent;
its record stays. A file with a name that stc does not give is left alone.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from stc.errors import InputError, StcError
from stc.store.artifact import RECORD_FILE, Artifact, Kind
from stc.store.files import FileHashes, seal_artifact, unlisted_file
from stc.store.identity import identity_of
from stc.store.leases import SECONDS, Lease, LeaseHolder, Leases, MadeElsewhere
from stc.store.location import HASHES_FILE, identities_in, mark_as_store, store_folder_fault
from stc.store.records import read_store_record, serialize_record
from stc.system.durable_files import disk_full, fsync, mismatch, remove_tree, write_atomically
from stc.system.read_files import read_json

__all__ = ["LeaseHolder", "MadeElsewhere", "Store", "identity_of"]

ABSENT = "not in the store"
"""The reason that :meth:`Store.get` gives for an artifact that does not exist."""


class Store:
    """The artifacts under one folder, which is made when it is first written to.

    Args:
        lease_seconds: the time without a heartbeat after which the maker of an artifact is taken for dead.

    Raises:
        InputError: the folder cannot be a store (:func:`stc.store.location.store_folder_fault`).
    """

    def __init__(self, root: Path, lease_seconds: float = SECONDS) -> None:
        self.root = Path(os.path.realpath(root))
        if fault := store_folder_fault(self.root):
            raise InputError(f"{root} {fault} (store.dir, --store)")
        self._hashes = FileHashes(self.root / HASHES_FILE)
        self._leases = Leases(self.root, lease_seconds)
        self._leases_held: dict[str, Lease] = {}

    def path(self, kind: Kind, identity: str) -> Path:
        return self.root / kind.value / identity

    def record(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        """Return the record of an artifact, evicted or not; None if there is none or it is damaged."""
        folder = self.path(kind, identity)
        record, _ = read_store_record(folder / RECORD_FILE, kind, identity)
        return record if record is not None or os.path.lexists(folder) else self._evicted(kind, identity)

    def identities(self, kind: Kind) -> list[str]:
        """Return the identities of the artifacts in the store, whole or damaged."""
        return identities_in(self.root / kind.value)

    def get(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """Return a checked artifact, or None and why: it is absent, or it was damaged and has been set aside."""
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
        """Take a damaged artifact out of use. Return its new folder; None if it is gone or was made anew meanwhile.

        Args:
            fault: says what is wrong with its folder; called again when no other process can change the folder.

        Raises:
            MadeElsewhere: another process works on it.
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
        """Delete an artifact's files to free space. Its record stays, and says so. A run that needs the files makes
        them anew under the same identity, and what was made from them stays valid.

        Raises:
            MadeElsewhere: another process works on it.
            StcError: the artifact is not there, its record is damaged, or its folder has something that the record does
                not list.
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
        """Remove what makers that died have left of an artifact; with ``scratch`` also what the next maker could go on
        from.

        Raises:
            MadeElsewhere: its maker is alive.
        """
        with self._claim(identity) as lease:
            lease.published = scratch

    def inspect(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """Return a checked artifact, or None and why. A damaged one is left where it is.

        Raises:
            InputError: a file of it may not be read, or there is one that its record does not list: something else
                would be loaded than was written, and stc does not move what others put there.
        """
        folder = self.path(kind, identity)
        if not os.path.lexists(folder):
            evicted = self._evicted(kind, identity)
            return None, f"evicted on {evicted.get('evicted', '?')}" if evicted else ABSENT
        record, fault = read_store_record(folder / RECORD_FILE, kind, identity)
        if record is not None:
            fault = self.file_fault(folder, record["files"])
        if record is None or fault:
            return None, f"damaged: {fault}"
        if other := unlisted_file(folder, record["files"]):
            raise InputError(f"{folder / other} was not written by stc: move it out of the store")
        return Artifact(kind, folder, identity, record["facts"]), ""

    def holder(self, identity: str) -> LeaseHolder | None:
        """Return the process that makes an artifact, or died making it; None if there is none."""
        return self._leases.holder(identity)

    def active_holders(self) -> dict[str, LeaseHolder]:
        """Return the processes that make artifacts, by identity. Wait for a heartbeat where only that shows whether one
        is alive."""
        return self._leases.alive_holders()

    def sha256(self, file: Path) -> str:
        """Return the SHA-256 of a file, read again only if it has changed. Raise InputError if it cannot be read."""
        try:
            return self._hashes.sha256(file)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None

    def scratch(self, identity: str) -> Path:
        """Return the scratch folder of an artifact, inside its :meth:`publish`: it belongs to the lease."""
        folder = self._leases_held[identity].scratch
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def publish(self, kind: Kind, identity: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield an empty folder to fill and a record to complete. Publish both under ``identity`` after the block.

        Nothing is published if the block raises or the process dies. The record needs ``facts``, and ``spec``, whose
        identity is ``identity``; ``kind``, ``identity``, ``files`` and the record's own checksum are added.

        Raises:
            MadeElsewhere: another process makes the artifact, has made it, or has taken the lease over meanwhile.
            StcError: the disk is full, or cannot be written to.
        """
        with self._claim(identity) as lease:
            if os.path.lexists(self.path(kind, identity)):
                lease.published = True
                raise MadeElsewhere(f"{identity} has been made by another process")
            self._leases_held[identity] = lease
            record: dict[str, Any] = {}
            try:
                lease.artifact.mkdir(parents=True)
                yield lease.artifact, record
                record.update(kind=kind.value, identity=identity)
                with self._writing():
                    seal_artifact(lease.artifact, record)
                    self._place(lease, self.path(kind, identity))
                    self._evicted_file(kind, identity).unlink(missing_ok=True)
                for name, entry in record["files"].items():
                    self._hashes.remember(self.path(kind, identity) / name, entry["sha256"])
                self.save_hashes()
            except MadeElsewhere:
                raise
            except Exception as error:
                if not lease.is_held():  # its folders are gone, so anything may have been raised
                    raise MadeElsewhere(f"the lease of {identity} was taken over by another process") from error
                if disk_full(error):
                    raise StcError(
                        f"no space left for a {kind.value} in {self.root} ({error}): what was finished is kept; free "
                        "some space, or name a folder on another disk (store.dir), and run the same command again"
                    ) from error
                raise
            finally:
                del self._leases_held[identity]

    def _place(self, lease: Lease, target: Path) -> None:
        """Move the artifact to its place, unless something is there or the lease is lost."""
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

    def save_hashes(self) -> None:
        """Store the digests that were computed, if the store can be written to."""
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
        """Raise StcError, which names the store, if the block cannot write to it. A full disk keeps its error."""
        try:
            yield
        except OSError as error:
            if disk_full(error):
                raise
            where = f"{error.filename or self.root}: {error.strerror}"
            raise StcError(f"the store (store.dir={self.root}) cannot be written to: {where}") from error

    def generation(self, identity: str) -> int:
        """Return how often the result of this identity was made anew by force.

        Raises:
            InputError: the file that says so is damaged, so that nobody knows which result is meant.
        """
        try:
            return read_json(self.root / "generations" / identity, NonNegativeInt)
        except FileNotFoundError:
            return 0
        except InputError as error:
            raise InputError(f"{error}; without this file the result counts as never made anew") from None

    def set_generation(self, identity: str, generation: int) -> None:
        """Store how often a result was made anew. A late process does not lower the number of another."""
        if generation <= self.generation(identity):
            return
        file = self.root / "generations" / identity
        with self._writing():
            mark_as_store(self.root)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, str(generation))

    def _evicted_file(self, kind: Kind, identity: str) -> Path:
        return self.root / "evicted" / kind.value / f"{identity}.json"

    def _evicted(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        return read_store_record(self._evicted_file(kind, identity), kind, identity)[0]

    def file_fault(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> str:
        """Return in what the files of a folder differ from those of its record; empty if in nothing."""
        faults = (mismatch(folder / name, name, entry, self._hashes.sha256) for name, entry in files.items())
        try:
            return next(filter(None, faults), "")
        except OSError as error:
            raise InputError(f"{error.filename or folder} cannot be read: {error.strerror}") from None

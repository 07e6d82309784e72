"""Artifacts by identity. Knows nothing of stages.

    <store>/<kind>/<identity>/        a finished artifact and its record, stc.record.json
    <store>/.building/…               being written; renamed into place when whole
    <store>/.scratch/<identity>/      what a stage keeps for itself across a crash
    <store>/.damaged/…                set aside because a checksum did not hold
    <store>/.going/…                  on its way to be deleted
    <store>/evicted/<kind>/<identity>.json   the record of an artifact whose files were given up for space
    <store>/generations/<identity>    how often a result was made anew on purpose
    <store>/hashes.json               sha256 of files by path, size and time of change, so each is read once

Invariants: an artifact is whole or absent; whoever reads one has had its checksums compared; a damaged one is
never used. One process writes to a store at a time: leases between workers belong in :meth:`Store.publish`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stc.errors import InputError, StcError
from stc.stage import RECORD_FILE, Artifact, Kind
from stc.store.files import Hashes, disk_full, files_of, settle, sync, write_atomically
from stc.store.records import identity_of, leaves, read_record, read_record_file, sealed, short

__all__ = ["Store", "identity_of"]


class Store:
    """Artifacts under one folder, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._hashes = Hashes(self.root / "hashes.json")

    def path(self, kind: Kind, identity: str) -> Path:
        return self.root / kind.value / identity

    def record(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        """The record of an artifact, evicted or not, or None where there is none or it is damaged."""
        folder = self.path(kind, identity)
        return read_record(folder)[0] if folder.exists() else self._evicted(kind, identity)

    def get(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """A checked artifact, or None and why: it is absent, or it was damaged and has been set aside."""
        found, why = self.look(kind, identity)
        folder = self.path(kind, identity)
        if found is None and folder.exists():
            return None, f"{why}; set aside as {self.set_aside(kind, identity)}"
        return found, why

    def set_aside(self, kind: Kind, identity: str) -> Path:
        """Take a damaged artifact out of use; where it is now."""
        aside = self.root / ".damaged" / f"{identity}.{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        self.path(kind, identity).rename(aside)
        return aside

    def evict(self, kind: Kind, identity: str) -> None:
        """Give up an artifact's files for space. Its record stays, and says so; a run that needs the files makes them
        anew under the same identity, and what was made of them stays valid.

        Raises:
            StcError: the artifact is not there, or its record is damaged.
        """
        folder = self.path(kind, identity)
        record, fault = read_record(folder)
        if record is None:
            raise StcError(f"{folder} cannot be evicted: {fault}")
        kept = self._evicted_file(kind, identity)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, sealed({**record, "evicted": time.strftime("%Y-%m-%d %H:%M:%S")}))
        going = self.root / ".going" / f"{identity}.{os.getpid()}"
        going.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(going)
        shutil.rmtree(going)

    def look(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """A checked artifact, or None and why; a damaged one is left where it is."""
        folder = self.path(kind, identity)
        if not folder.exists():
            evicted = self._evicted(kind, identity)
            return None, f"evicted on {evicted['evicted']}" if evicted else "not in the store"
        record, fault = read_record(folder)
        if record is not None:
            fault = self._fault(folder, record["files"])
        if record is None or fault:
            return None, f"damaged: {fault}"
        return Artifact(kind, folder, identity, record["facts"]), ""

    def external(self, kind: Kind, folder: Path) -> Artifact:
        """A folder from outside as an artifact, identified by the content of its files.

        Raises:
            InputError: it is not a folder, or it carries a record that is damaged or that a file differs from.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder (a {kind.value} is expected there)")
        digests = {name: self._hashes.sha256(folder / name) for name in files_of(folder)}
        facts: dict[str, Any] = {}
        if (folder / RECORD_FILE).exists():
            record, fault = read_record(folder)
            if record is not None:
                fault = self._fault(folder, record["files"])
                facts = record["facts"]
            if fault:
                raise InputError(f"{folder} is damaged: {fault}")
        self._hashes.save()
        return Artifact(kind, folder, identity_of({"external": kind.value, "files": digests}), facts)

    def sha256(self, file: Path) -> str:
        return self._hashes.sha256(file)

    def scratch(self, identity: str) -> Path:
        folder = self.root / ".scratch" / identity
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def publish(self, kind: Kind, identity: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yields an empty folder to fill and a record to complete; at the end both appear under ``identity``.

        Nothing appears if the block raises or the process dies. The record needs ``facts``; ``files`` is added,
        and the record's own checksum.

        Raises:
            StcError: the disk is full.
        """
        building = self.root / ".building" / f"{identity}.{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        record: dict[str, Any] = {}
        try:
            yield building, record
            names = files_of(building)
            with ThreadPoolExecutor() as pool:  # a corpus has 100,000 files, and each waits for the disk
                written = pool.map(settle, (building / name for name in names))
                record["files"] = dict(zip(names, written, strict=True))
            (building / RECORD_FILE).write_text(sealed(record), encoding="utf-8")
            sync(building / RECORD_FILE)
            for folder in (building, *(path for path in building.rglob("*") if path.is_dir())):
                sync(folder)
            target = self.path(kind, identity)
            target.parent.mkdir(parents=True, exist_ok=True)
            building.rename(target)
            sync(target.parent)
            self._evicted_file(kind, identity).unlink(missing_ok=True)
            for name, entry in record["files"].items():
                self._hashes.remember(target / name, entry["sha256"])
            self._hashes.save()
        except BaseException as error:
            shutil.rmtree(building, ignore_errors=True)
            if disk_full(error):
                raise StcError(
                    f"no space left for a {kind.value} in {self.root} ({error}): what was finished is kept; free some "
                    "space, or name a folder on another disk (store.dir), and run the same command again"
                ) from error
            raise
        shutil.rmtree(self.root / ".scratch" / identity, ignore_errors=True)

    def generation(self, identity: str) -> int:
        """How often the result known as ``identity`` was made anew by force."""
        try:
            return int((self.root / "generations" / identity).read_text())
        except FileNotFoundError:
            return 0

    def set_generation(self, identity: str, generation: int) -> None:
        file = self.root / "generations" / identity
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, str(generation))

    def why_missing(self, kind: Kind, spec: Mapping[str, Any]) -> str:
        """In what the nearest artifact of the same stage differs from ``spec``, field by field."""
        wanted = leaves(spec)
        best: list[str] | None = None
        for file in sorted((self.root / kind.value).glob(f"*/{RECORD_FILE}")):
            record, _ = read_record(file.parent)
            found = leaves(record["spec"]) if record else {}
            if found.get("stage") != wanted.get("stage"):
                continue
            differing = [
                f"{key} {short(found.get(key, 'absent'))} → {short(wanted.get(key, 'absent'))}"
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
        return read_record_file(self._evicted_file(kind, identity))[0]

    def _fault(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> str:
        for name, entry in files.items():
            file = folder / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != entry["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, {entry['bytes']} were written"
            if self._hashes.sha256(file) != entry["sha256"]:
                return f"{name} is not what was written (checksum)"
        return ""

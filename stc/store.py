"""Artifacts by identity. Knows nothing of stages.

    <store>/<kind>/<identity>/        a finished artifact and its record, stc.record.json
    <store>/.building/…               being written; renamed into place when whole
    <store>/.scratch/<identity>/      what a stage keeps for itself across a crash
    <store>/.damaged/…                set aside because a checksum did not hold
    <store>/generations/<identity>    how often a result was made anew on purpose
    <store>/hashes.json               sha256 of files by path, size and time of change, so each is read once

Invariants: an artifact is whole or absent; whoever reads one has had its checksums compared; a damaged one is
never used. One process writes to a store at a time: leases between workers belong in :meth:`Store.publish`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stc.data.manifest import file_sha256
from stc.errors import InputError, StcError
from stc.stage import RECORD_FILE, Artifact, Kind

RECORD_SUM = "record_sha256"
"""Key of a record's own checksum: of all its other keys."""


def disk_full(error: BaseException) -> bool:
    """Whether an error is that a disk, or one's share of it, is full; safetensors raises one of its own, by text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def canonical(value: Any) -> str:
    """JSON with one spelling for equal values.

    Raises:
        TypeError: for a value that has none: a path, a set, NaN, an object.
    """
    return json.dumps(_checked(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _checked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a key without stable form in {value!r}")
        return {key: _checked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"{value!r} ({type(value).__name__}) has no stable form, so it cannot identify a result")


def identity_of(spec: Mapping[str, Any]) -> str:
    """The identity of what ``spec`` describes: 20 hexadecimal digits."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:20]


class Store:
    """Artifacts under one folder, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._hashes = _Hashes(self.root / "hashes.json")

    def path(self, kind: Kind, identity: str) -> Path:
        return self.root / kind.value / identity

    def record(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        """The record of an artifact, or None where there is none or it is damaged."""
        return _read_record(self.path(kind, identity))[0]

    def get(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        """A checked artifact, or None and why: it is absent, or it was damaged and has been set aside."""
        folder = self.path(kind, identity)
        if not folder.exists():
            return None, "not in the store"
        record, fault = _read_record(folder)
        if record is not None:
            fault = self._fault(folder, record["files"])
        if record is None or fault:
            aside = self.root / ".damaged" / f"{identity}.{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
            return None, f"damaged: {fault}; set aside as {aside}"
        return Artifact(kind, folder, identity, record["facts"]), ""

    def external(self, kind: Kind, folder: Path) -> Artifact:
        """A folder from outside as an artifact, identified by the content of its files.

        Raises:
            InputError: it is not a folder, or it carries a record that is damaged or that a file differs from.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder (a {kind.value} is expected there)")
        digests = {name: self._hashes.sha256(folder / name) for name in _files(folder)}
        facts: dict[str, Any] = {}
        if (folder / RECORD_FILE).exists():
            record, fault = _read_record(folder)
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
            names = _files(building)
            with ThreadPoolExecutor() as pool:  # a corpus has 100,000 files, and each waits for the disk
                written = pool.map(_settle, (building / name for name in names))
                record["files"] = dict(zip(names, written, strict=True))
            content = json.loads(_record_text(record))  # as it will be read: tuples as lists, keys as text
            text = _record_text({**content, RECORD_SUM: _record_sum(content)})
            (building / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
            _sync(building / RECORD_FILE)
            for folder in (building, *(path for path in building.rglob("*") if path.is_dir())):
                _sync(folder)
            target = self.path(kind, identity)
            target.parent.mkdir(parents=True, exist_ok=True)
            building.rename(target)
            _sync(target.parent)
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
        _write_atomically(file, str(generation))

    def why_missing(self, kind: Kind, spec: Mapping[str, Any]) -> str:
        """In what the nearest artifact of the same stage differs from ``spec``, field by field."""
        wanted = _leaves(spec)
        best: list[str] | None = None
        for file in sorted((self.root / kind.value).glob(f"*/{RECORD_FILE}")):
            record, _ = _read_record(file.parent)
            found = _leaves(record["spec"]) if record else {}
            if found.get("stage") != wanted.get("stage"):
                continue
            differing = [
                f"{key} {_short(found.get(key, 'absent'))} → {_short(wanted.get(key, 'absent'))}"
                for key in sorted(found.keys() | wanted.keys())
                if found.get(key) != wanted.get(key)
            ]
            if best is None or len(differing) < len(best):
                best = differing
        if best is None:
            return "first of its kind"
        return "differs from the nearest in " + ", ".join(best[:4]) + (" …" if len(best) > 4 else "")

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


class _Hashes:
    """sha256 of files, read again only when size or time of change differ."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            self._known: dict[str, list[Any]] = json.loads(file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            self._known = {}

    def sha256(self, path: Path) -> str:
        known = self._known.get(str(path))
        if known is None or known[:2] != _stamp(path):
            self.remember(path, file_sha256(path))
        digest: str = self._known[str(path)][2]
        return digest

    def remember(self, path: Path, digest: str) -> None:
        self._known[str(path)] = [*_stamp(path), digest]
        self._changed = True

    def save(self) -> None:
        if self._changed:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _write_atomically(self._file, json.dumps(self._known))
            self._changed = False


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _files(folder: Path) -> list[str]:
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if name != RECORD_FILE)


def _read_record(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """A folder's record, or None and what is wrong with it."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, f"{RECORD_FILE} is missing"
    except ValueError:  # no JSON, or not even text
        return None, f"{RECORD_FILE} is not JSON"
    if not isinstance(record, dict) or not {"files", "facts", RECORD_SUM} <= record.keys():
        return None, f"{RECORD_FILE} is not a record: files, facts or {RECORD_SUM} are missing"
    if record.pop(RECORD_SUM) != _record_sum(record):
        return None, f"{RECORD_FILE} is not what was written (checksum)"
    return record, ""


def _record_sum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(_record_text(record).encode()).hexdigest()


def _record_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _leaves(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 and not re.fullmatch(r"[0-9a-f]{20,}", text) else f"{text[:8]}…"


def _write_atomically(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(file)


def _settle(file: Path) -> dict[str, Any]:
    """Bring a file to disk; its entry in the record."""
    _sync(file)
    return {"bytes": file.stat().st_size, "sha256": file_sha256(file)}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

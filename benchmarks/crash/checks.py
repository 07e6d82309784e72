"""What has to hold of a store, found out without stc's own reading of it, and what two stores have in common."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stc.store.artifact import RECORD_FILE, Kind

Key = tuple[str, str]  # kind, identity

TIMED = {"rtf", "rtf_batched", "peak_memory_bytes", "peak_memory_batched_bytes", "load_seconds", "steps_per_second"}
"""What is another each time that it is measured."""

_MEASURED = (Kind.MEASUREMENT, Kind.COMPARISON)  # their files hold such figures


def finished(store: Path) -> dict[Key, tuple[int, int]]:
    """The artifacts in their places, each told apart from one put there later."""
    found = {}
    for folder in (one for kind in Kind for one in (store / kind).glob("*")):
        try:
            stat = folder.stat()
        except FileNotFoundError:
            continue
        found[folder.parent.name, folder.name] = (stat.st_ino, stat.st_ctime_ns)
    return found


def corrupted(store: Path) -> dict[Key, str]:
    """The artifacts of which a file, or the record, is not what was written."""
    faults = {}
    for key in finished(store):
        try:
            _whole(store / key[0] / key[1])
        except (OSError, ValueError, KeyError, AssertionError) as fault:
            faults[key] = f"{type(fault).__name__} {fault}"
    return faults


def _whole(folder: Path) -> None:
    record = json.loads((folder / RECORD_FILE).read_text("utf-8"))
    said = record.pop("record_sha256")
    text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == said, "record"
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {RECORD_FILE}
    assert there == record["files"].keys(), "files"
    for name, entry in record["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"], name


def differing(store: Path, undisturbed: Path, but: Iterable[Key]) -> list[str]:
    """In what the artifacts of two stores differ, other than in figures of speed and memory. ``but``: those of the
    first that are not looked into."""
    ours, theirs = finished(store).keys(), finished(undisturbed).keys()
    faults = [f"{kind} {identity} is in one store only" for kind, identity in sorted(ours ^ theirs)]
    for kind, identity in sorted((ours & theirs) - set(but)):
        one, other = (_content(root / kind / identity) for root in (store, undisturbed))
        faults += [f"{kind} {identity}: {part} differs" for part in one if one[part] != other[part]]
    return faults


def _content(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / RECORD_FILE).read_text("utf-8"))
    content = {key: untimed(record[key]) for key in ("name", "kind", "identity", "spec", "facts", "curves")}
    if record["kind"] not in _MEASURED:
        return {**content, "files": record["files"]}
    return {**content, **{file.name: untimed(json.loads(file.read_text("utf-8"))) for file in _texts(folder)}}


def _texts(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.json") if file.name != RECORD_FILE)


def untimed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: untimed(one) for key, one in value.items() if key not in TIMED}
    return [untimed(one) for one in value] if isinstance(value, list) else value


def results(sweep: Path, store: Path) -> list[Any]:
    """What the jobs of a sweep ended with, by their overrides, less what says where, when and how fast."""
    found = []
    for file in sweep.glob("*/result.json"):
        text = file.read_text("utf-8").replace(str(store.resolve()), "STORE")
        content = json.loads(text)
        content["stages"] = [(one["name"], one["identity"]) for one in content["stages"]]
        found.append(untimed(content))
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


def leftovers(store: Path) -> list[str]:
    hidden = [file for name in (".building", ".scratch") for file in (store / name).rglob("*") if file.is_file()]
    torn = [file for file in store.glob("*.json.*") if file.is_file()]
    return sorted(file.relative_to(store).as_posix() for file in [*hidden, *torn])


class Ledger:
    """What the events of a store's workers amount to: how often each stage was begun and published, and whether
    anything was done again that had been kept."""

    def __init__(self, events: Iterable[tuple[float, list[str]]], seen: Mapping[str, list[float]]) -> None:
        """
        Args:
            seen: identity → when it was first seen in its place, and when damage was done to it, in turns.
        """
        self.begun: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.again: list[str] = []
        self.resumed = self.recovered = 0  # trainings and rounds that did not begin at their beginning
        self.unusable = 0  # checkpoints set aside
        self.refused: Counter[str] = Counter()  # by a full disk
        self.lost: list[str] = []  # checkpoints and scores that had been kept, and were not found
        kept: dict[tuple[str, str], int] = {}
        for moment, (what, identity, *rest) in events:
            if what == "begun":
                self.begun[identity] += 1
                if sum(turn < moment for turn in seen.get(identity, [])) % 2:
                    self.again.append(identity)
            elif what == "refused":
                self.refused[" ".join(rest)] += 1
            elif what == "unusable":
                self.unusable += 1
            elif what in ("published", "damaged"):
                self.published[identity] += what == "published"
                kept.pop((identity, "checkpoint"), None)
                kept.pop((identity, "scored"), None)
            elif what in ("checkpoint", "scored"):
                kept[identity, what] = int(rest[0])
            else:  # resumed, recovered
                before = kept.get((identity, "checkpoint" if what == "resumed" else "scored"), 0)
                found = int(rest[0])
                if found < before:
                    self.lost.append(f"{identity} {what} {found} of {before}")
                self.resumed += what == "resumed" and found > 0
                self.recovered += what == "recovered" and found > 0
        for identity, times in self.published.items():
            if times > 1 + len(seen.get(identity, [])) // 2:
                self.again.append(f"{identity} published {times} times")

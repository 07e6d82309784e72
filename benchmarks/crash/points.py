"""Where a worker dies from within: at a rename, at a file being brought to disk, at a heartbeat.

The functions of ``os`` that these come down to are replaced in the worker, so stc itself is as it ships. A point is
known by the paths it touches.

Moments: ``before`` and ``after`` the call. ``torn``: what was written and has not been brought to disk is half there,
as after a power cut. ``full``: the worker does not die, and the disk is full for this one call.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from stc.store.artifact import Kind

_ID = r"[0-9a-f]{20}"
_KINDS = "|".join(Kind)
_LEASE = rf"/\.building/{_ID}\.\d+"

RENAMES = {
    "lease: claimed": rf"{_LEASE}$",
    "lease: a dead one's fenced off": r"\.fenced\.",
    "lease: scratch taken over": rf"{_LEASE}/\w+/scratch$",
    "lease: scratch put by": rf"/\.scratch/{_ID}$",
    "lease: given up": r"\.gone\.",
    "publish: put in its place": rf"/({_KINDS})/{_ID}$",
    "checkpoint: put in its place": r"/checkpoints/\d{8}$",
    "damaged artifact: set aside": r"/\.damaged/",
    "damaged checkpoint: set aside": r"/checkpoints/unusable\.",
    "list of checksums: replaced": r"/hashes\.json$",
    "state of a job: replaced": r"/(status|sweep)\.json$",
}
SYNCS = {
    "checkpoint: tensors": rf"{_LEASE}/.*/checkpoints/\.writing\.\d+/\d+\.safetensors$",
    "checkpoint: index": rf"{_LEASE}/.*/checkpoints/\.writing\.\d+/checkpoint\.json$",
    "checkpoint: read again": r"/checkpoints/\d{8}/",
    "round: score of a layer": r"/candidates\.jsonl$",
    "publish: record": r"/artifact/stc\.record\.json$",
    "publish: file": r"/artifact/.*\.\w+$",
    "list of checksums: written": r"/hashes\.json\.\w+$",
    "state of a job: written": r"/(status|sweep)\.json\.\w+$",
    "publish: in its place, lease still held": rf"^(?!.*/\.building/).*/({_KINDS})$",
}
HEARTBEAT = "lease: heartbeat"

_TEARABLE = (
    "checkpoint: tensors",
    "checkpoint: index",
    "round: score of a layer",
    "publish: record",
    "publish: file",
    "list of checksums: written",
    "state of a job: written",
)
_TORN_BY_RENAME = {"lease: claimed": "lease.json"}  # what is in there is not brought to disk
_OFTEN = {"publish: file": 12, "round: score of a layer": 8, "publish: record": 3, "checkpoint: tensors": 4}
_AFTER_DAMAGE = ("damaged artifact: set aside", "damaged checkpoint: set aside")


@dataclass
class Plan:
    """To die (or to be refused by a full disk) at the ``count``-th time that a point is met."""

    label: str
    moment: str
    count: int

    def __str__(self) -> str:
        return f"{self.label}, {self.moment}"


def draw(random: Random, full: bool) -> Plan:
    """A plan for a worker, of those that some time or other come true; ``full``: for a full disk."""
    labels = [*RENAMES, *SYNCS, HEARTBEAT]
    if full:
        label, moment = random.choice(_TEARABLE), "full"
    else:
        label = random.choice([one for one in labels if one not in _AFTER_DAMAGE])
        torn = ["torn"] * (label in _TEARABLE or label in _TORN_BY_RENAME)
        moment = random.choice(["before", "after", *torn])
    return Plan(label, moment, random.randint(1, _OFTEN.get(label, 2)))


def draw_after_damage(random: Random) -> Plan:
    return Plan(random.choice(_AFTER_DAMAGE), random.choice(["before", "after"]), 1)


class Points:
    """Replaces what has to be replaced in this process.

    Args:
        die: says where, and does not return.
        happened: hears of every labelled call that has succeeded, and of one that a full disk refused: label, path,
            and whether it was refused.
    """

    def __init__(
        self,
        plan: Plan | None,
        die: Callable[[str], None],
        happened: Callable[[str, str, bool], None],
    ) -> None:
        self._plan = plan
        self._die = die
        self._happened = happened
        os.rename = self._moving(os.rename)
        os.replace = self._moving(os.replace)
        os.fsync = self._syncing(os.fsync)  # type: ignore[assignment]
        os.utime = self._beating(os.utime)

    def _due(self, label: str, moment: str) -> bool:
        plan = self._plan
        if plan is None or (plan.label, plan.moment) != (label, moment):
            return False
        plan.count -= 1
        return plan.count == 0

    def _here(self, label: str, moment: str) -> None:
        if self._due(label, moment):
            self._die(f"{label}, {moment}")

    def _moving(self, original: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **more: Any) -> None:
            label = _labelled(os.fspath(target), RENAMES)
            if label is None:
                return original(source, target, **more)
            self._here(label, "before")
            original(source, target, **more)
            self._happened(label, os.fspath(target), False)
            self._here(label, "after")
            if self._due(label, "torn"):
                _tear(Path(target, _TORN_BY_RENAME[label]))
                self._die(f"{label}, torn")

        return move

    def _syncing(self, original: Callable[[int], None]) -> Callable[[Any], None]:
        def sync(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = os.readlink(f"/proc/self/fd/{number}")
            label = _labelled(path, SYNCS)
            if label is None:
                return original(number)
            self._here(label, "before")
            if self._due(label, "full"):
                self._happened(label, path, True)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            if os.fstat(number).st_nlink == 1 and self._due(label, "torn"):  # else it lies elsewhere as well
                _tear(Path(path))
                self._die(f"{label}, torn")
            original(number)
            self._happened(label, path, False)
            self._here(label, "after")

        return sync

    def _beating(self, original: Callable[..., None]) -> Callable[..., None]:
        def touch(path: Any, *arguments: Any, **more: Any) -> None:
            beats = os.fspath(path).endswith("/lease.json")
            if beats:
                self._here(HEARTBEAT, "before")
            original(path, *arguments, **more)
            if beats:
                self._here(HEARTBEAT, "after")

        return touch


def _labelled(path: str, patterns: dict[str, str]) -> str | None:
    return next((label for label, pattern in patterns.items() if re.search(pattern, path)), None)


def _tear(file: Path) -> None:
    """What is left of it is its first half; of a journal, which is brought to disk line by line, the last line's."""
    found = file.stat()
    if stat.S_ISREG(found.st_mode):
        os.truncate(file, max(found.st_size - 5, 0) if file.suffix == ".jsonl" else found.st_size // 2)


def end_here() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

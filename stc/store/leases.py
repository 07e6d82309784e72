"""Leases: who makes an artifact, where several processes want it, on one machine or on several that share a store.

    <store>/.building/<identity>.<number>/   a lease; among several the highest number holds
        lease.json           who holds it, with a token no other lease has; touched as the heartbeat
        <token>/artifact/    what is being written
        <token>/scratch/     what the stage keeps for itself; in <store>/.scratch/<identity>/ while there is no lease

Everything rests on ``rename`` of a folder, which is atomic on local and shared file systems, fails where something is
in its way, and fails where its source has gone. Locks of the operating system do not hold between the nodes of many
shared file systems, and are not used.

- To claim, a folder with its lease.json is renamed to the number after the highest. One of several can succeed. It
  looks again before it believes: with a higher number there, or with another lease in the place of the dead one it
  saw, it gives up and starts over.
- To take over from a dead holder is to claim the next number and then to rename the dead one's folder away. That is
  the fence: a holder that was only stopped, and wakes up, finds neither what it was building nor its scratch, so it
  can publish nothing and disturb nobody. It also compares the token before it publishes, in case it has made the
  folders again by their names. What it published before the fence is found by the new holder, which looks into the
  store after its claim.
- A holder is dead at once if its process is gone and was on this machine. Elsewhere, and if it is stopped, it is dead
  when its heartbeat has not changed for ``SECONDS``, by the clock of whoever watches; clocks are not compared. Time
  in which the watcher was not looking, stopped perhaps with the holder, hardly counts.
- The heart beats in a thread, so whatever the stage does: PyTorch and safetensors let threads run while they work
  (a thread beat every 10 ms through a save of 1.2 GB). A process that is stopped does not beat, which is right.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import secrets
import shutil
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from stc.errors import StcError
from stc.store.records import is_identity
from stc.system.durable_files import remove_tree
from stc.system.read_files import open_regular, parse_json

SECONDS = 60.0
"""Without a heartbeat for so long a holder is taken for dead. File servers pause for some seconds, and to restart
they take longer than that; a take-over in error costs the work of the one who is taken for dead."""

_BEATS = 6  # in that time; also how many times at least one has to look before one finds a holder dead

_LEASE_FILE = "lease.json"
_LEASE_BYTES = 2**16
_QUICKER = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT)  # of a rename: a rival was there first, or tidied up


@dataclass(frozen=True)
class LeaseHolder:
    """The holder of a lease: ``host:pid`` in ``who``, and whether it is ``alive`` as far as can be told: surely where
    it is ``here``, on this machine, and elsewhere by its heartbeat."""

    number: int
    token: str | None
    who: str
    alive: bool
    here: bool = False
    beat: int = 0


class _Content(TypedDict):
    """What lease.json says."""

    token: str
    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    started: str | None
    machine: list[str] | None


class _Damaged(StcError):
    """A lease.json is not what was written."""


class MadeElsewhere(StcError):
    """An artifact is made by another process, or has been by now: whoever wants it looks into the store again."""


class Lease:
    """The right to make one artifact, kept by a heartbeat until the end of the ``with`` block.

    Set ``published`` once the artifact is in its place, whoever put it there: what is in scratch then goes, and is
    kept otherwise.
    """

    def __init__(self, folder: Path, token: str, kept: Path, beat: float) -> None:
        self.artifact = folder / token / "artifact"
        self.scratch = folder / token / "scratch"
        self.published = False
        self._folder = folder
        self._token = token
        self._kept = kept
        self._beat = beat
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name=f"lease of {folder.name}", daemon=True)

    def is_held(self) -> bool:
        """Whether it still is this process's, which it is not after a take-over."""
        found = _read(self._folder)
        return found is not None and bool(found[0]["token"] == self._token)

    def __enter__(self) -> Lease:
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._heart.join()
        if not self.is_held():
            return
        if not self.published and self.scratch.is_dir() and any(self.scratch.iterdir()):
            shutil.rmtree(self._kept, ignore_errors=True)
            _rename(self.scratch, self._kept)
        self.drop()

    def drop(self) -> None:
        """Give the lease up: at one instant, however long it takes to remove what is in the folder."""
        gone = self._folder.with_suffix(f".gone.{self._token}")
        _rename(self._folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat):
            try:
                if not self.is_held():
                    return
                os.utime(self._folder / _LEASE_FILE)  # which a full disk allows
            except (OSError, StcError):
                continue  # if it lasts, the lease runs out


class Leases:
    """The leases of the store under ``root``."""

    def __init__(self, root: Path, seconds: float = SECONDS) -> None:
        self._root = root / ".building"
        self._scratch = root / ".scratch"
        self._seconds = seconds
        self._watched: dict[str, tuple[int, float, float]] = {}  # token → heartbeat, seconds unchanged, last look

    def holder(self, identity: str) -> LeaseHolder | None:
        """Who holds the lease of an artifact, dead or alive."""
        number = max(self._numbers(identity), default=0)
        folder = self._root / f"{identity}.{number}"
        found = _read(folder)
        if found is not None:
            who, beat = found
            alive = not _gone(who) and not self._silent(who["token"], beat)
            return LeaseHolder(number, who["token"], f"{who['host']}:{who['pid']}", alive, _here(who), beat)
        if folder.is_dir():  # a machine went down before the file was on its disk, or a fenced process made it again
            return LeaseHolder(number, None, "a process unknown", False)
        return None

    def alive_holders(self) -> dict[str, LeaseHolder]:
        """Who holds a lease and is alive, by identity. If all of them are on other machines, it returns once a heart
        has been seen to beat, or none has for as long as it takes to be dead."""
        first: dict[str | None, int] = {}
        while True:
            holders = {
                identity: self.holder(identity)
                for identity in {name.partition(".")[0] for name in self._names()}
                if is_identity(identity)
            }
            found = {identity: one for identity, one in holders.items() if one is not None and one.alive}
            if not found or any(
                one.here or first.setdefault(one.token, one.beat) != one.beat for one in found.values()
            ):
                return found
            time.sleep(self._seconds / _BEATS / 2)

    def claim(self, identity: str) -> Lease:
        """The lease of an artifact, taken over if its holder is dead, with the scratch that was kept.

        Raises:
            MadeElsewhere: its holder is alive.
        """
        while True:
            before = self.holder(identity)
            if before is not None and before.alive:
                raise MadeElsewhere(f"{identity} is made by {before.who}")
            lease = self._place(identity, before)
            if lease is not None:
                return lease
            time.sleep(random.uniform(0, 0.05))  # rivals that gave way to each other do not meet again

    def remove_dead_lease(self, identity: str) -> None:
        """Remove what is left of a holder that died when it had published and not yet tidied up."""
        holder = self.holder(identity)
        if holder is not None and not holder.alive:
            with suppress(MadeElsewhere, OSError), self.claim(identity) as lease:  # a store may be read only
                lease.published = True
        for gone in self._root.glob(f"{identity}.gone.*"):
            remove_tree(gone)

    def _place(self, identity: str, before: LeaseHolder | None) -> Lease | None:
        """A lease numbered after the one ``before``, or None if somebody else was quicker."""
        token = secrets.token_hex(8)
        number = before.number + 1 if before else 1
        fresh, folder = self._root / f"{identity}.new.{token}", self._root / f"{identity}.{number}"
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            fresh.mkdir()
            (fresh / _LEASE_FILE).write_text(json.dumps({"token": token, **_this_process()}), encoding="utf-8")
            fresh.rename(folder)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if error.errno in _QUICKER:
                return None
            raise
        lease = Lease(folder, token, self._scratch / identity, self._seconds / _BEATS)
        if not self._still(identity, number, before):
            lease.drop()
            return None
        for lower in self._numbers(identity):
            if lower < number:
                _rename(self._root / f"{identity}.{lower}", self._root / f"{identity}.fenced.{token}.{lower}")
        for kept in (*self._root.glob(f"{identity}.fenced.*/*/scratch"), self._scratch / identity):
            if not lease.scratch.exists():
                _rename(kept, lease.scratch)
        for what in ("fenced", "new", "gone"):  # of those fenced now, and of processes that were killed
            for left in self._root.glob(f"{identity}.{what}.*"):
                remove_tree(left)
        return lease

    def _still(self, identity: str, number: int, before: LeaseHolder | None) -> bool:
        """Whether ``number``, which has just been taken, is the highest, and follows the lease it was to follow."""
        if max(self._numbers(identity), default=0) != number:
            return False
        found = _read(self._root / f"{identity}.{number - 1}") if before else None
        return before is None or found is None or found[0]["token"] == before.token

    def _numbers(self, identity: str) -> list[int]:
        ends = (name.removeprefix(f"{identity}.") for name in self._names() if name.startswith(f"{identity}."))
        return [int(end) for end in ends if re.fullmatch("[0-9]{1,9}", end)]

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._root)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _silent(self, token: str, beat: int) -> bool:
        """Whether a heartbeat has not changed for as long as it takes to be dead."""
        now = time.monotonic()
        last, unchanged, looked = self._watched.get(token, (None, 0.0, now))
        unchanged = unchanged + min(now - looked, self._seconds / _BEATS) if beat == last else 0.0
        self._watched[token] = (beat, unchanged, now)
        return unchanged >= self._seconds


def _rename(source: Path, target: Path) -> None:
    """Rename what may have gone by now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        source.rename(target)


def _read(folder: Path) -> tuple[_Content, int] | None:
    """Who holds the lease in a folder, and its heartbeat; None where there is none, or what is there is damaged.

    Raises:
        StcError: it may not be read, so that nobody knows whether its holder is alive.
    """
    file = folder / _LEASE_FILE
    try:
        with open_regular(file, error=StcError) as opened:  # not only looked up: over NFS that asks the server
            content = opened.read(_LEASE_BYTES)
            return parse_json(content, str(file), _Content, error=_Damaged), os.fstat(opened.fileno()).st_mtime_ns
    except (FileNotFoundError, _Damaged):
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # removed by another machine
            return None
        raise


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    stat = _stat(pid)
    return {"host": socket.gethostname(), "pid": pid, "started": stat and stat[1], "machine": _machine()}


def _gone(who: _Content) -> bool:
    """Whether a holder's process is certain to have ended: it was on this machine, and is not there."""
    if not _here(who):
        return False
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's, and there
    stat = _stat(who["pid"])
    return stat is not None and (stat[0] in "ZX" or stat[1] != who["started"])


def _here(who: _Content) -> bool:
    return who["machine"] is not None and bool(who["machine"] == _machine())


@cache
def _machine() -> list[str] | None:
    """Within what a process id means one process: a host since it was started, and a container on it; None where
    that is not known. Copies of a virtual machine may differ in no more than the host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return [socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")]
    except OSError:
        return None


def _stat(pid: int) -> tuple[str, str] | None:
    """State of a process, Z or X if it has ended, and when it started, in ticks of the machine's clock."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None

"""Leases: which process makes an artifact, where several processes on one or more machines share a store.

    <store>/.building/<identity>.<number>/   a lease; of several, the one with the highest number is valid
        lease.json           the holder, with a unique token; its time of change is the heartbeat
        <token>/artifact/    what is being written
        <token>/scratch/     the stage's own files; in <store>/.scratch/<identity>/ while there is no lease

Everything relies on ``rename`` of a folder. It is atomic on local and shared file systems, and it fails if the target
is in use or the source is gone. File locks do not hold between the nodes of many shared file systems, so they are not
used.

- To claim, a process renames a folder with its lease.json to the number after the highest. Of several processes one
  can succeed. It then looks again: with a higher number there, or with another lease in the place of the dead one that
  it saw, it gives up and starts over.
- To take over from a dead holder, a process claims the next number and then renames the dead holder's folder away.
  This is the fence: a holder that was only stopped, and goes on, finds neither its artifact nor its scratch. It can
  publish nothing and disturb nobody. It also compares the token before it publishes, in case it has made the folders
  again by their names. What it published before the fence is found by the new holder, which looks into the store after
  its claim.
- A holder on this machine is dead at once if its process has ended. Elsewhere, and if it is stopped, it is dead when
  its heartbeat has not changed for ``SECONDS``, by the clock of the process that watches; clocks are not compared. Time
  in which the watcher itself did not run hardly counts.
- The heartbeat is a thread, whatever the stage does: PyTorch and safetensors let threads run while they work (a thread
  beat every 10 ms through a save of 1.2 GB). A stopped process does not beat, which is right.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from stc.errors import StcError
from stc.store.identity import is_identity
from stc.store.lease_holder import LeaseContent, has_ended, is_here, this_process
from stc.system.durable_files import remove_tree
from stc.system.read_files import open_regular, parse_json

SECONDS = 60.0
"""A holder without a heartbeat for so long is taken for dead. File servers pause for some seconds, and take longer to
restart; a wrong take-over costs the work of the holder."""

_BEATS = 6  # in that time; also the least number of looks after which a holder is found dead

_LEASE_FILE = "lease.json"
_LEASE_BYTES = 2**16
_RIVAL_WAS_FIRST = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT)  # of a rename: claimed by a rival, or tidied up


@dataclass(frozen=True)
class LeaseHolder:
    """The holder of a lease.

    Attributes:
        who: ``host:pid``.
        alive: as far as can be known: for certain where it is ``here``, on this machine; elsewhere by its heartbeat.
    """

    number: int
    token: str | None
    who: str
    alive: bool
    here: bool = False
    beat: int = 0


class _DamagedLease(StcError):
    """A lease.json is not what was written."""


class MadeElsewhere(StcError):
    """Another process makes an artifact, or has made it: whoever wants it looks into the store again."""


class Lease:
    """The right to make one artifact, kept by a heartbeat until the end of the ``with`` block.

    Set ``published`` once the artifact is in its place, whoever put it there. Scratch is then removed, and kept
    otherwise.
    """

    def __init__(self, folder: Path, token: str, parked_scratch: Path, beat: float) -> None:
        self.artifact = folder / token / "artifact"
        self.scratch = folder / token / "scratch"
        self.published = False
        self._folder = folder
        self._token = token
        self._parked_scratch = parked_scratch
        self._beat = beat
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name=f"lease of {folder.name}", daemon=True)

    def is_held(self) -> bool:
        """Return whether this process still holds the lease, which it does not after a take-over."""
        found = _read_lease(self._folder)
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
            shutil.rmtree(self._parked_scratch, ignore_errors=True)
            _rename(self.scratch, self._parked_scratch)
        self.drop()

    def drop(self) -> None:
        """Give the lease up, at one instant, however long it takes to remove what is in the folder."""
        gone = self._folder.with_suffix(f".gone.{self._token}")
        _rename(self._folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat):
            try:
                if not self.is_held():
                    return
                os.utime(self._folder / _LEASE_FILE)  # which works on a full disk
            except (OSError, StcError):
                continue  # if it lasts, the lease expires


class Leases:
    """The leases of the store under ``root``."""

    def __init__(self, root: Path, seconds: float = SECONDS) -> None:
        self._root = root / ".building"
        self._scratch = root / ".scratch"
        self._seconds = seconds
        self._watched: dict[str, tuple[int, float, float]] = {}  # token → heartbeat, seconds unchanged, last look

    def holder(self, identity: str) -> LeaseHolder | None:
        """Return the holder of the lease of an artifact, dead or alive."""
        number = max(self._numbers(identity), default=0)
        folder = self._root / f"{identity}.{number}"
        found = _read_lease(folder)
        if found is not None:
            content, beat = found
            alive = not has_ended(content) and not self._is_silent(content["token"], beat)
            who = f"{content['host']}:{content['pid']}"
            return LeaseHolder(number, content["token"], who, alive, is_here(content), beat)
        if folder.is_dir():  # a machine went down before the file was on its disk, or a fenced process made it again
            return LeaseHolder(number, None, "a process unknown", False)
        return None

    def alive_holders(self) -> dict[str, LeaseHolder]:
        """Return the holders that are alive, by identity.

        If all of them are on other machines, return once a heartbeat has changed, or none has for ``SECONDS``.
        """
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

    def artifact_folder(self, identity: str, holder: LeaseHolder) -> Path:
        """Return the folder that the holder of a lease writes to."""
        return self._root / f"{identity}.{holder.number}" / str(holder.token) / "artifact"

    def claim(self, identity: str) -> Lease:
        """Return the lease of an artifact, taken over if its holder is dead, with the scratch that was kept.

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
        """Remove what is left of a holder that died after it had published and before it had tidied up."""
        holder = self.holder(identity)
        if holder is not None and not holder.alive:
            with suppress(MadeElsewhere, OSError), self.claim(identity) as lease:  # a store may be read only
                lease.published = True
        for gone in self._root.glob(f"{identity}.gone.*"):
            remove_tree(gone)

    def remove_dead_leases(self) -> None:
        """Do the same for every artifact."""
        for identity in {name.partition(".")[0] for name in self._names()}:
            if is_identity(identity):
                self.remove_dead_lease(identity)

    def _place(self, identity: str, before: LeaseHolder | None) -> Lease | None:
        """Return a lease with the number after that of ``before``, or None if another process was quicker."""
        token = secrets.token_hex(8)
        number = before.number + 1 if before else 1
        fresh, folder = self._root / f"{identity}.new.{token}", self._root / f"{identity}.{number}"
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            fresh.mkdir()
            (fresh / _LEASE_FILE).write_text(json.dumps({"token": token, **this_process()}), encoding="utf-8")
            fresh.rename(folder)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if error.errno in _RIVAL_WAS_FIRST:
                return None
            raise
        lease = Lease(folder, token, self._scratch / identity, self._seconds / _BEATS)
        if not self._is_still_next(identity, number, before):
            lease.drop()
            return None
        for lower in self._numbers(identity):
            if lower < number:
                _rename(self._root / f"{identity}.{lower}", self._root / f"{identity}.fenced.{token}.{lower}")
        for kept in (*self._root.glob(f"{identity}.fenced.*/*/scratch"), self._scratch / identity):
            if not lease.scratch.exists():
                _rename(kept, lease.scratch)
        for what in ("fenced", "new", "gone"):  # of the holders fenced now, and of processes that were killed
            for left in self._root.glob(f"{identity}.{what}.*"):
                remove_tree(left)
        return lease

    def _is_still_next(self, identity: str, number: int, before: LeaseHolder | None) -> bool:
        """Return whether ``number``, just taken, is the highest, and follows the lease that it was to follow."""
        if max(self._numbers(identity), default=0) != number:
            return False
        found = _read_lease(self._root / f"{identity}.{number - 1}") if before else None
        return before is None or found is None or found[0]["token"] == before.token

    def _numbers(self, identity: str) -> list[int]:
        ends = (name.removeprefix(f"{identity}.") for name in self._names() if name.startswith(f"{identity}."))
        return [int(end) for end in ends if re.fullmatch("[0-9]{1,9}", end)]

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._root)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _is_silent(self, token: str, beat: int) -> bool:
        """Return whether a heartbeat has not changed for ``SECONDS``."""
        now = time.monotonic()
        last, unchanged, looked = self._watched.get(token, (None, 0.0, now))
        unchanged = unchanged + min(now - looked, self._seconds / _BEATS) if beat == last else 0.0
        self._watched[token] = (beat, unchanged, now)
        return unchanged >= self._seconds


def _rename(source: Path, target: Path) -> None:
    """Rename a folder that may be gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        source.rename(target)


def _read_lease(folder: Path) -> tuple[LeaseContent, int] | None:
    """Return the content of the lease in a folder, and its heartbeat; None if there is none, or it is damaged.

    Raises:
        StcError: it may not be read, so that nobody knows whether its holder is alive.
    """
    file = folder / _LEASE_FILE
    try:
        with open_regular(file, error=StcError) as opened:  # over NFS, opening it asks the server, unlike a look-up
            content = opened.read(_LEASE_BYTES)
            lease = parse_json(content, str(file), LeaseContent, error=_DamagedLease)
            return lease, os.fstat(opened.fileno()).st_mtime_ns
    except (FileNotFoundError, _DamagedLease):
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # removed by another machine
            return None
        raise

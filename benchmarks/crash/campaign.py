"""Workers on one store, killed and started again until all that they were asked for is there."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from crash.checks import Key, finished
from crash.points import Plan, draw, draw_after_damage
from crash.worker import STARTS, Events, Where, start

STARTING = 0.1  # of the workers die while they read their config, which takes seconds; others live until that is done
INJECTED = 0.65  # of the workers are to die at a point from within
FULL = 0.05  # of the workers meet a full disk first
IN_VAIN = 4  # kills since anything was finished, by which patience has doubled
DAMAGE_EVERY = 20  # kills: then all workers are killed at once, and something they have finished is damaged
_LONGEST = 900.0  # seconds without a kill until the test gives up


class Failed(Exception):
    """A worker ended as none may."""


@dataclass
class Tally:
    """What was done to the workers."""

    kills: list[tuple[str, str]] = field(default_factory=list)  # stage, point; without a point it was at some instant
    damaged: Counter[str] = field(default_factory=Counter)  # what was done to which kind
    set_aside: int = 0

    @property
    def injected(self) -> int:
        return sum(point != "" for _, point in self.kills)


class Worker:
    """One process after another, all started by the same command."""

    def __init__(self, arguments: Sequence[str], log: Path, events: Events) -> None:
        self._arguments = arguments
        self._log = log
        self._events = events
        self.where = Where()
        self.patience: float | None = None  # how long it is let live
        self.pid: int | None = None
        self.finished = False

    def start(self, plan: Plan | None = None, patience: float | None = None, at_once: bool = False) -> None:
        """``at_once``: its patience ends so long after its start, and not after it has read its config."""
        self.patience = patience
        self._since = time.monotonic() if at_once else None
        self.where.set(STARTS)
        self._from = self._log.stat().st_size if self._log.exists() else 0
        self.pid = start(self._arguments, self._log, self.where, self._events, plan)

    def due(self) -> bool:
        """Whether it is to be killed now."""
        if self.patience is None or self.pid is None:
            return False
        if self._since is None and self.where.get()[0] != STARTS:
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since > self.patience

    def kill(self, group: bool) -> None:
        """``group``: with what it has started, as a scheduler does; else that is left to itself."""
        assert self.pid is not None
        try:
            os.killpg(self.pid, signal.SIGKILL) if group else os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not formed its group yet
            os.kill(self.pid, signal.SIGKILL)

    def ended(self, wait: bool = False) -> int | None:
        """The status of a process that has ended since: its exit code, or −9."""
        if self.pid is None:
            return None
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if not pid:
            return None
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def said(self) -> str:
        """By the last process, less its progress bars."""
        lines = self._log.read_bytes()[self._from :].decode(errors="replace").replace("\r", "\n").splitlines()
        return "\n".join(line for line in lines if "it/s" not in line and "s/it" not in line and "%|" not in line)


class Round:
    """A store, from nothing to the end of the sweep.

    Args:
        patience: seconds until a worker is killed from outside, on average; three times that if it is to die from
            within, in case it never comes to its point. With the kills since anything was finished it becomes more,
            or what takes long would not be finished at all.

    Attributes:
        seen: identity → when it was first seen finished, when it was damaged, when it was seen again, and so on.
        lost: finished artifacts that went away without having been damaged.
    """

    def __init__(
        self, home: Path, commands: Sequence[Sequence[str]], random: Random, tally: Tally, patience: float = 0.0
    ) -> None:
        home.mkdir(parents=True)
        self.store = home / "store"
        self.events = Events(home / "events")
        self.workers = []
        for number, one in enumerate(commands):
            places = [f"store.dir={self.store}", f"hydra.sweep.dir={home}/sweep{number}"]
            self.workers.append(Worker([*one, *places], home / f"log{number}", self.events))
        self.seen: dict[str, list[float]] = {}
        self.lost: list[str] = []
        self._there: dict[Key, tuple[int, int]] = {}
        self._broken: dict[Key, tuple[int, int]] = {}
        self._random = random
        self._tally = tally
        self._patience = patience
        self._in_vain = 0

    def run(self, kills: int) -> None:
        """Until the sweep is finished; no worker is killed any more once ``kills`` have been in all.

        Raises:
            Failed: a worker ended neither well, nor by a kill, nor because of a full disk.
        """
        self._kills = kills
        self._damage_at = len(self._tally.kills) + DAMAGE_EVERY
        last = time.monotonic()
        try:
            for worker in self.workers:
                self._start(worker)
            while not all(worker.finished for worker in self.workers):
                time.sleep(0.02)
                before = len(self._tally.kills)
                for worker in self.workers:
                    self._look_after(worker)
                if len(self._tally.kills) != before:
                    last = time.monotonic()
                    if len(self._tally.kills) >= self._damage_at and not any(one.finished for one in self.workers):
                        self._break_something()
                self._look_around()
                if time.monotonic() - last > _LONGEST:
                    raise Failed(f"nothing happened for {_LONGEST:.0f} s\n{self.workers[0].said()}")
        finally:
            for worker in self.workers:
                if worker.pid is not None:
                    worker.kill(group=True)
                    worker.ended(wait=True)

    def again(self) -> list[str]:
        """The same command once more; the identities of what it made, which should be there."""
        before = len(self.events.read())
        worker = self.workers[0]
        worker.start()
        if status := worker.ended(wait=True):
            raise Failed(f"the same command again ended with {status}; it said:\n{worker.said()}")
        self._look_around()
        return [words[1] for _, words in self.events.read()[before:] if words[0] == "begun"]

    @property
    def still_broken(self) -> set[Key]:
        """What was damaged and has not been read since."""
        return {key for key, stamp in self._broken.items() if self._there.get(key) == stamp}

    def _left(self) -> int:
        return self._kills - len(self._tally.kills) - sum(worker.patience is not None for worker in self.workers)

    def _start(self, worker: Worker, plan: Plan | None = None) -> None:
        worker.patience = None
        if self._left() <= 0:
            return worker.start()
        if plan is None and (chance := self._random.random()) < INJECTED + FULL:
            plan = draw(self._random, full=chance > INJECTED)
        mean = self._patience * (1 + self._in_vain / IN_VAIN)
        patience = 3 * mean if plan else self._random.expovariate(1 / mean)
        return worker.start(plan, patience, at_once=plan is None and self._random.random() < STARTING)

    def _look_after(self, worker: Worker) -> None:
        if worker.due():
            worker.kill(group=self._random.random() < 0.5)
            status = worker.ended(wait=True)
        else:
            status = worker.ended()
        if status is None:
            return
        if status == 0:
            worker.finished, worker.patience = True, None
            return
        if status == -signal.SIGKILL:
            self._tally.kills.append(worker.where.get())
            self._in_vain += 1
        elif status != 1 or "no space left" not in worker.said().lower():
            raise Failed(f"a worker ended with {status}; the end of what it said:\n{worker.said()}")
        self._start(worker)

    def _look_around(self) -> None:
        """What has been finished, and whether all that was finished before still is."""
        there, now = finished(self.store), time.monotonic()
        for key, stamp in there.items():
            if self._there.get(key) != stamp:
                self.seen.setdefault(key[1], []).append(now)
                self._in_vain = 0
        for key, stamp in self._there.items():
            if there.get(key) != stamp and self._broken.get(key) != stamp:
                self.lost.append(" ".join(key))
            if there.get(key) != stamp and self._broken.get(key) == stamp:
                self._tally.set_aside += 1
        self._there = there

    def _break_something(self) -> None:
        """Kill all at once; damage an artifact, or a checkpoint, while nobody reads it; start them again."""
        for worker in self.workers:
            worker.kill(group=True)
        for worker in self.workers:
            worker.ended(wait=True)
            worker.patience = None
            self._tally.kills.append(worker.where.get())
        self._look_around()
        self._damage_at = len(self._tally.kills) + DAMAGE_EVERY
        checkpoints = sorted(self.store.glob(".building/*/*/scratch/checkpoints/[0-9]*/*"))
        if checkpoints and self._random.random() < 0.5:
            file = self._random.choice(checkpoints)
            how = _damage(file, self._random)
            self._tally.damaged[f"checkpoint: {how}"] += 1
            self.events.note("damaged", str(file).partition("/.building/")[2].partition(".")[0])
        elif self._there:
            # Among those made last, of which the next stages are made: what nobody reads again is not missed.
            key = self._random.choice(sorted(self._there, key=lambda one: self.seen[one[1]][-1])[-4:])
            if self._broken.get(key) != self._there[key]:
                folder = self.store / key[0] / key[1]
                how = _damage(
                    self._random.choice(sorted(one for one in folder.rglob("*") if one.is_file())), self._random
                )
                self._tally.damaged[f"{key[0]}: {how}"] += 1
                self._broken[key] = self._there[key] = finished(self.store)[key]
                self.seen[key[1]].append(time.monotonic())
                self.events.note("damaged", key[1])
        for number, worker in enumerate(self.workers):
            self._start(worker, draw_after_damage(self._random) if number == 0 else None)


def _damage(file: Path, random: Random) -> str:
    content = file.read_bytes()
    how = random.choice(["a byte changed", "cut short", "deleted"]) if content else "deleted"
    file.unlink()  # it may lie elsewhere as well
    if how == "a byte changed":
        at = random.randrange(len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == "cut short":
        file.write_bytes(content[: len(content) // 2])
    return how

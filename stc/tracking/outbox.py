"""What MLflow has not got yet of a run: it is sent from a thread of its own, so that nothing waits for a server.

- A server that is away is asked again, at longer and longer intervals. What waits for it is in a file meanwhile.
- What it has not got when the run ends, after a last wait of some seconds, stays in that file. The next run with the
  same ``tracking.uri`` sends it before anything else (:func:`send_kept`).
- A server that is there and refuses something is not asked for that again: a warning, once, and on to the next.

Things are sent in the order in which they came. Sending one twice changes nothing: MLflow takes a metric with the same
step and time for the same.
"""

from __future__ import annotations

import fcntl
import json
import logging
import queue
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from stc.process import Process
from stc.tracking.destination import Away, Destination

LOG = logging.getLogger("stc.tracking")

Item = tuple[str, list[Any]]
"""A metric, a parameter, a tag, or a method of MLflow's client, and its arguments after the run's id."""

_FLUSH_SECONDS = 2.0  # what is handed over can be seen in MLflow at most about this much later
_LONGEST_PAUSE = 30.0  # seconds between two questions whether a server is back
_LAST_WAIT = 10.0  # seconds that the end of a run waits for a server that takes nothing, and
_LAST_WAIT_HERE = 120.0  # for a database of this machine, which is never away but may be slow
_KEPT_SECONDS = 30.0  # the start of a run spends no more than this on what former runs have left
_AT_ONCE = {"metric": 500, "param": 100, "tag": 100}  # MLflow's limits


class Outbox:
    """The things to send of one run, to its destination; ``folder`` is for the file of what waits."""

    def __init__(self, destination: Destination, folder: Path) -> None:
        self.destination = destination
        self._file = folder / f"{uuid.uuid4().hex}.jsonl"
        self._incoming: queue.SimpleQueue[Item] = queue.SimpleQueue()  # may be put into from a signal's handler
        self._waiting: list[Item] = []
        self._guard = threading.RLock()  # of what waits, and of its file
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._moved = time.monotonic()
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        self._incoming.put(item)

    def close(self) -> None:
        """Send what waits; give up when nothing has been taken for some seconds, and keep the rest in the file."""
        self._moved = time.monotonic()
        self._closing.set()
        patience = _LAST_WAIT if self.destination.uri.startswith("http") else _LAST_WAIT_HERE
        while self._thread.is_alive() and time.monotonic() - self._moved < patience:
            self._thread.join(0.1)
        self._given_up.set()
        with self._guard:
            self._gather()
            if self._waiting:
                keep(self._file, self.destination, self._waiting, owner=None)
                LOG.warning(
                    "MLflow at %s is away: what it has not got is kept in %s, and the next run that uses it sends it",
                    self.destination.uri,
                    self._file,
                )

    def _work(self) -> None:
        pause = 1.0
        while not self._given_up.is_set():
            self._closing.wait(_FLUSH_SECONDS)
            try:
                self._send()
                pause = 1.0
                if self._closing.is_set() and not self._waiting:
                    return
            except Away as error:
                self._warn(f"{error}; it is tried again")
                with self._guard:
                    if self._given_up.is_set():
                        return
                    keep(self._file, self.destination, self._waiting, owner=Process.this())
                if self._closing.is_set():
                    time.sleep(0.5)
                else:
                    self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self) -> None:
        with self._guard:
            self._gather()
        while self._waiting and not self._given_up.is_set():
            taken = _together(self._waiting)
            refused = self.destination.deliver(self._waiting[:taken])
            if refused:
                self._warn(refused)
            with self._guard:
                del self._waiting[:taken]
            self._moved = time.monotonic()
        with self._guard:
            if not self._waiting:
                self._file.unlink(missing_ok=True)

    def _gather(self) -> None:
        while not self._incoming.empty():
            self._waiting.append(self._incoming.get())

    def _warn(self, what: str) -> None:
        if not self._warned:
            LOG.warning(
                "MLflow run %s: %s. The computation goes on; MLflow may miss some of it.",
                self.destination.run_id,
                what,
            )
        self._warned = True


def _together(items: list[Item]) -> int:
    """How many of the first items MLflow takes in one request: metrics, parameters and tags, or one of another kind."""
    room = dict(_AT_ONCE)
    for number, (what, _) in enumerate(items):
        if room.get(what, 0) == 0:
            return max(number, 1)
        room[what] -= 1
    return len(items)


def keep(file: Path, destination: Destination, items: list[Item], owner: Process | None) -> None:
    """Write down what a destination has not got; ``owner`` is the process that still tries to send it."""
    from stc.store.files import write_atomically

    file.parent.mkdir(parents=True, exist_ok=True)
    head = {"destination": destination.written(), "owner": vars(owner) if owner else None}
    write_atomically(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [head, *items]))


def send_kept(folder: Path, uri: str) -> None:
    """Send what former runs have left for this server; one process at a time, and for a limited time."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime) if folder.is_dir() else []
    if not files:
        return
    until = time.monotonic() + _KEPT_SECONDS
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for file in files:
            head, *items = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            owner = Process(**head["owner"]) if head["owner"] else None
            if head["destination"]["uri"] != uri or (owner and owner.alive):
                continue
            destination = Destination(**head["destination"])
            while items:
                if time.monotonic() > until:
                    keep(file, destination, items, owner=None)
                    return
                taken = _together(items)
                refused = destination.deliver(items[:taken])
                if refused:
                    LOG.warning("MLflow run %s: %s", destination.run_id, refused)
                del items[:taken]
            file.unlink()

"""What MLflow has not got yet of a run: it is sent from a thread of its own, so that nothing waits for a server.

- A server that is away is asked again, at longer and longer intervals. What waits for it is in a file meanwhile.
- What it has not got when the run ends, after a last wait of some seconds, stays in that file. The next run with the
  same ``tracking.uri`` sends it before anything else (:func:`send_kept`).
- A server that is there and refuses something (status 4xx) is not asked for that again: a warning, once, and on to the
  next. One that has a fault of its own (5xx, or 408 and 429, which ask for patience) is away as far as that goes.

Figures are sent in the order in which they came. Sending one twice changes nothing: MLflow takes a metric with the same
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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, model_validator

from stc.errors import InputError
from stc.system.process import Process
from stc.system.read_files import parse_json, read_text
from stc.tracking.destination import DatabaseLocked, Destination, MlflowUnavailable, RequestFailed

LOG = logging.getLogger("stc.tracking")

ItemKind = Literal["metric", "param", "tag", "log_text", "log_dict", "log_artifact", "log_table", "set_terminated"]
Item = tuple[ItemKind, list[Any]]
"""A metric, a parameter, a tag, or a method of MLflow's client, and its arguments after the run's id."""

FLUSH_SECONDS = 2.0  # what is handed over can be seen in MLflow at most about this much later
_LONGEST_PAUSE = 30.0  # seconds between two questions whether a server is back
LAST_WAIT = 10.0  # seconds that the end of a run waits for a server that takes nothing, and
LAST_WAIT_LOCAL = 120.0  # for a database of this machine, which is never away but may be slow
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
        self._warned = self._failing = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        self._incoming.put(item)

    def close(self) -> None:
        """Send what waits; give up when nothing has been taken for some seconds, and keep the rest in the file."""
        self._moved = time.monotonic()
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() - self._moved < self._patience():
            self._thread.join(0.1)
        self._given_up.set()
        with self._guard:
            self._gather()
            if self._waiting and self._keep(owner=None):
                LOG.warning(
                    "MLflow at %s is away or fails: what it has not got is kept in %s, and the next run that uses it "
                    "sends it",
                    self.destination.uri,
                    self._file,
                )

    def _patience(self) -> float:
        return LAST_WAIT if self._failing or self.destination.uri.startswith("http") else LAST_WAIT_LOCAL

    def _work(self) -> None:
        pause = 1.0
        while not self._given_up.is_set():
            self._closing.wait(FLUSH_SECONDS)
            closing = self._closing.is_set()  # asked first: whatever was handed over before the end is then gathered
            try:
                self._send()
                pause, self._failing = 1.0, False
                if closing:
                    return
            except MlflowUnavailable as error:
                self._failing = not isinstance(error, DatabaseLocked)
                self._warn(f"{error}; it is tried again")
                with self._guard:
                    if self._given_up.is_set():
                        return
                    self._keep(owner=Process.this())
                if self._closing.is_set():
                    time.sleep(0.5)
                else:
                    self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self) -> None:
        with self._guard:
            self._gather()
        for refused in _sent(self.destination, self._waiting, lambda: not self._given_up.is_set(), self._guard):
            if refused:
                self._warn(refused)
            self._moved = time.monotonic()
        with self._guard:
            if not self._waiting:
                self._file.unlink(missing_ok=True)

    def _keep(self, owner: Process | None) -> bool:
        """Write down what waits; whether that could be done."""
        try:
            save_unsent(self._file, self.destination, self._waiting, owner)
        except OSError as error:
            self._warn(f"what it has not got cannot be kept in {self._file}: {error.strerror}")
            return False
        return True

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


def _sent(
    destination: Destination, items: list[Item], goes_on: Callable[[], bool], guard: AbstractContextManager[Any]
) -> Iterator[str | None]:
    """Send ``items`` as long as it ``goes_on``, and take out of the list, under the guard, what was taken or refused.

    An artifact that meets a fault is passed over: a server whose files are away still takes figures, in their order.

    Yields:
        for each request why it was refused, None where it was taken.

    Raises:
        Away: some were not taken, and stay in the list.
    """
    at, passed_over = 0, None
    while at < len(items) and goes_on():
        count = _together(items[at:])
        try:
            refused = destination.deliver(items[at : at + count])
        except RequestFailed as error:
            if not items[at][0].startswith("log_"):
                raise
            at, passed_over = at + 1, error
            continue
        with guard:
            del items[at : at + count]
        yield refused
    if passed_over is not None:
        raise passed_over


def _together(items: list[Item]) -> int:
    """How many of the first items MLflow takes in one request: metrics, parameters and tags, or one of another kind."""
    room = dict(_AT_ONCE)
    for number, (what, _) in enumerate(items):
        if room.get(what, 0) == 0:
            return max(number, 1)
        room[what] -= 1
    return len(items)


def save_unsent(file: Path, destination: Destination, items: list[Item], owner: Process | None) -> None:
    """Write down what a destination has not got; ``owner`` is the process that still tries to send it."""
    from stc.system.durable_files import write_atomically

    file.parent.mkdir(parents=True, exist_ok=True)
    head = {"destination": destination.written(), "owner": vars(owner) if owner else None}
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [head, *items])
    write_atomically(file, text.encode("utf-8", "replace").decode())  # halves of surrogate pairs are no text


def send_leftovers(folder: Path, uri: str) -> None:
    """Send what former runs have left for this server; one process at a time, and for a limited time.

    Nothing that is found there stops the run that asks: a file that cannot be read is set aside, and what cannot be
    sent stays.
    """
    try:
        files = sorted(folder.glob("*.jsonl"), key=lambda file: file.lstat().st_mtime)
        if not files:
            return
        until = time.monotonic() + _KEPT_SECONDS
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for file in files:
                if time.monotonic() < until:
                    _send_file(file, uri, until)
    except BlockingIOError:  # another process sends them
        return
    except OSError as error:
        LOG.warning("MLflow: what former runs have left in %s cannot be sent: %s", folder, error)


def _send_file(file: Path, uri: str, until: float) -> None:
    try:
        head, items = _read(file)
    except FileNotFoundError:  # sent meanwhile, by the run that left it
        return
    except InputError as error:
        aside = file.with_suffix(".damaged")
        LOG.warning("MLflow: %s; what it holds is not sent, and it is set aside as %s", error, aside.name)
        file.replace(aside)
        return
    if head.destination.uri != uri or (head.owner is not None and head.owner.alive):
        return
    destination = Destination(**head.destination.model_dump())
    try:
        for refused in _sent(destination, items, lambda: time.monotonic() < until, nullcontext()):
            if refused:
                LOG.warning("MLflow run %s: %s", destination.run_id, refused)
    except MlflowUnavailable as error:
        LOG.warning("MLflow run %s: %s; what it has not got stays in %s", destination.run_id, error, file)
    if items:
        save_unsent(file, destination, items, owner=None)
    else:
        file.unlink()


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Creation(_Shape):
    experiment: str
    arguments: dict[str, Any]


class _Where(_Shape):
    uri: str
    run_id: str | None
    creation: _Creation | None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.run_id is None and self.creation is None:
            raise ValueError("a run_id or how to make the run is needed")
        return self


class _Head(_Shape):
    """The first line of a file of what waits."""

    destination: _Where
    owner: Process | None


def _read(file: Path) -> tuple[_Head, list[Item]]:
    """Read what :func:`keep` has written.

    Raises:
        FileNotFoundError: it is gone.
        InputError: it is no such file.
    """
    lines = read_text(file).removesuffix("\n").split("\n")
    head = parse_json(lines[0], f"{file}, line 1", _Head)
    return head, [
        parse_json(line, f"{file}, line {number}", cast(Any, Item)) for number, line in enumerate(lines[1:], start=2)
    ]

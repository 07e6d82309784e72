"""The items of a run that MLflow does not have yet. A thread sends them, so that nothing waits for a server.

- A server that is away is asked again at longer and longer intervals. Meanwhile the waiting items are in a file.
- Items that are still waiting some seconds after the end of the run stay in that file. The next run with the same
  ``tracking.uri`` sends them before anything else (:func:`send_leftovers`).
- An item that the server refuses (status 4xx) is dropped, with one warning per run. A fault of the server (5xx, or 408
  and 429, which mean "later") is treated like a server that is away.

Items are sent in the order in which they came. It does no harm to send one twice: to MLflow, a metric with the same
step and time is the same.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

from typing_extensions import TypedDict

from stc.errors import InputError
from stc.system.process import Process
from stc.system.read_files import parse_json, read_text
from stc.tracking.destination import DatabaseLocked, Destination, MlflowUnavailable, RequestFailed

LOG = logging.getLogger("stc.tracking")

ItemKind = Literal[
    "metric", "param", "tag", "log_text", "log_dict", "log_artifact", "log_table", "log_datasets", "log_model",
    "set_terminated",
]  # fmt: skip
Item = tuple[ItemKind, list[Any]]
"""A metric, a parameter, a tag, or what :class:`Destination` calls; and its arguments after the run's id."""

FLUSH_SECONDS = 2.0  # the longest time until MLflow shows an item
LAST_WAIT = 10.0  # seconds that the end of a run waits for a server that takes nothing
_LAST_WAIT_DATABASE = 120.0  # the same for a database of this machine, which may be slow but is never away
_LONGEST_PAUSE = 30.0  # seconds between two attempts to reach a server
_LEFTOVER_SECONDS = 30.0  # the start of a run spends at most this time on what former runs left
_BATCH_LIMITS = {"metric": 500, "param": 100, "tag": 100}  # MLflow's


class Outbox:
    """The waiting items of one run. If they have to wait for long, they are saved in a file in ``folder``."""

    def __init__(self, destination: Destination, folder: Path) -> None:
        self.destination = destination
        self._file = folder / f"{uuid.uuid4().hex}.jsonl"
        self._incoming: queue.SimpleQueue[Item] = queue.SimpleQueue()  # a signal handler may put items here
        self._waiting: list[Item] = []
        self._guard = threading.RLock()  # of _waiting and _file
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._last_progress = time.monotonic()
        self._warned = self._failing = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        self._incoming.put(item)

    def close(self) -> None:
        """Send what waits. If MLflow takes nothing for some seconds, give up and leave the rest in the file."""
        self._last_progress = time.monotonic()
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() - self._last_progress < self._patience():
            self._thread.join(0.1)
        self._given_up.set()
        with self._guard:
            self._collect()
            if self._waiting and self._save(owner=None):
                LOG.warning(
                    "MLflow at %s is away or fails: what was not sent is saved in %s, and the next run that uses it "
                    "sends it",
                    self.destination.uri,
                    self._file,
                )

    def _patience(self) -> float:
        return LAST_WAIT if self._failing or self.destination.uri.startswith("http") else _LAST_WAIT_DATABASE

    def _work(self) -> None:
        pause = 1.0
        while not self._given_up.is_set():
            self._closing.wait(FLUSH_SECONDS)
            closing = self._closing.is_set()  # read before sending, so that the last items are sent, too
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
                    self._save(owner=Process.this())
                if self._closing.is_set():
                    time.sleep(0.5)
                else:
                    self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self) -> None:
        with self._guard:
            self._collect()
        for refusal in _send_items(self.destination, self._waiting, lambda: not self._given_up.is_set(), self._guard):
            if refusal:
                self._warn(refusal)
            self._last_progress = time.monotonic()
        with self._guard:
            if not self._waiting:
                self._file.unlink(missing_ok=True)

    def _collect(self) -> None:
        while not self._incoming.empty():
            self._waiting.append(self._incoming.get())

    def _save(self, owner: Process | None) -> bool:
        """Save the waiting items; return whether that worked."""
        try:
            save_unsent(self._file, self.destination, self._waiting, owner)
        except OSError as error:
            self._warn(f"what was not sent cannot be saved in {self._file}: {error.strerror}")
            return False
        return True

    def _warn(self, message: str) -> None:
        if not self._warned:
            LOG.warning(
                "MLflow run %s: %s. The computation goes on; MLflow may miss some of it.",
                self.destination.run_id,
                message,
            )
        self._warned = True


def _send_items(
    destination: Destination, items: list[Item], may_continue: Callable[[], bool], guard: AbstractContextManager[Any]
) -> Iterator[str | None]:
    """Send ``items``, and under the guard take those out of the list that were taken or refused.

    An artifact whose request fails is skipped: a server without its artifact store still takes metrics, in their order.

    Yields:
        for each request why it was refused, or None.

    Raises:
        MlflowUnavailable: some items were not taken, and stay in the list.
    """
    at, failure = 0, None
    while at < len(items) and may_continue():
        count = _batch_length(items[at:])
        try:
            refusal = destination.deliver(items[at : at + count])
        except RequestFailed as error:
            if not items[at][0].startswith("log_"):
                raise
            at, failure = at + 1, error
            continue
        with guard:
            del items[at : at + count]
        yield refusal
    if failure is not None:
        raise failure


def _batch_length(items: list[Item]) -> int:
    """Return how many of the first items fit into one request: metrics, parameters and tags, or one of another kind."""
    room = dict(_BATCH_LIMITS)
    for number, (kind, _) in enumerate(items):
        if room.get(kind, 0) == 0:
            return max(number, 1)
        room[kind] -= 1
    return len(items)


def save_unsent(file: Path, destination: Destination, items: list[Item], owner: Process | None) -> None:
    """Save the items that a destination does not have. ``owner`` is the process that is still trying to send them."""
    from stc.system.durable_files import write_atomically

    file.parent.mkdir(parents=True, exist_ok=True)
    head = {"destination": asdict(destination), "owner": asdict(owner) if owner else None}
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [head, *items])
    write_atomically(file, text.encode("utf-8", "replace").decode())  # a lone surrogate cannot be encoded


def send_leftovers(folder: Path, uri: str) -> None:
    """Send what former runs left for this server, for a limited time and in one process at a time.

    Nothing that is found stops the calling run. A file that cannot be read is renamed; what cannot be sent stays.
    """
    try:
        files = sorted(folder.glob("*.jsonl"), key=lambda file: file.lstat().st_mtime)
        if not files:
            return
        until = time.monotonic() + _LEFTOVER_SECONDS
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for file in files:
                if time.monotonic() < until:
                    _send_file(file, uri, until)
    except BlockingIOError:  # another process sends them
        return
    except OSError as error:
        LOG.warning("MLflow: what former runs left in %s cannot be sent: %s", folder, error)


def _send_file(file: Path, uri: str, until: float) -> None:
    try:
        head, items = _read_unsent(file)
    except FileNotFoundError:  # the run that left it has sent it meanwhile
        return
    except InputError as error:
        renamed = file.with_suffix(".damaged")
        LOG.warning("MLflow: %s; what it holds is not sent, and it is set aside as %s", error, renamed.name)
        file.replace(renamed)
        return
    destination, owner = head["destination"], head["owner"]
    if destination.uri != uri or (owner is not None and owner.alive):
        return
    try:
        for refusal in _send_items(destination, items, lambda: time.monotonic() < until, nullcontext()):
            if refusal:
                LOG.warning("MLflow run %s: %s", destination.run_id, refusal)
    except MlflowUnavailable as error:
        LOG.warning("MLflow run %s: %s; what was not sent stays in %s", destination.run_id, error, file)
    if items:
        save_unsent(file, destination, items, owner=None)
    else:
        file.unlink()


class _Head(TypedDict):
    """The first line of a file of unsent items."""

    destination: Destination
    owner: Process | None


def _read_unsent(file: Path) -> tuple[_Head, list[Item]]:
    """Read what :func:`save_unsent` wrote.

    Raises:
        FileNotFoundError: the file is gone.
        InputError: it is no such file.
    """
    first, *lines = read_text(file).removesuffix("\n").split("\n")
    items = [parse_json(line, f"{file}, line {number}", cast(Any, Item)) for number, line in enumerate(lines, start=2)]
    return parse_json(first, f"{file}, line 1", _Head), items

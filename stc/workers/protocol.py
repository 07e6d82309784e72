"""The connection between a worker process and the process that started it, through a Unix socket. Imports no torch.

The starting process sends a :class:`Request`. It keeps its end open for as long as it lives. A worker sends pairs:

    ("process", (rank, pid))                        first of all
    ("log", (metrics, step))                        for ctx.log
    ("begin", (title, total, unit))                 a progress bar; then ("update", (count, note)) …, ("end", None)
    ("message", (level, logger, text))              for the log
    ("result", value)                               a result of its share
    ("error", (class, text)) or ("fault", traceback)    why it failed; a fault is one of stc itself
    ("done", None)
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Client
from types import SimpleNamespace
from typing import Any

from stc.pipeline.stage import Context, Inputs, Progress
from stc.workers.stage import ParallelStage


@dataclass(frozen=True)
class Request:
    """The work that the workers are asked to do. The context has no ``log`` and no ``progress``."""

    stage: ParallelStage
    inputs: Inputs
    work: Mapping[str, Any]
    ctx: Context


class WorkerConnection:
    """The worker's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = Client(address, "AF_UNIX")
        self._sending = threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        with self._sending:
            self._socket.send((kind, value))

    def receive_request(self) -> Request:
        """Return the request. From then on this process ends as soon as the other end is closed.

        The starting process may have been killed, and then nobody waits for what is computed here.
        """
        request: Request = self._socket.recv()
        threading.Thread(target=self._exit_when_closed, daemon=True).start()
        return request

    def _exit_when_closed(self) -> None:
        self._socket.poll(None)  # nothing more is ever sent
        os._exit(1)

    def context(self, ctx: Context, *, reports: bool) -> Context:
        """Return the context for a share. Its metrics and progress go to the other end if it ``reports``."""

        def report(kind: str, value: Any = None) -> None:
            if reports:
                self.send(kind, value)

        @contextmanager
        def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
            report("begin", (title, total, unit))
            yield SimpleNamespace(update=lambda n=1, note="": report("update", (n, note)))
            report("end")

        def log(metrics: Mapping[str, float], step: int | None = None) -> None:
            report("log", ({name: float(value) for name, value in metrics.items()}, step))

        return replace(ctx, log=log, progress=progress)


class LogForwarder(logging.Handler):
    """A log handler that sends what is logged to the other end."""

    def __init__(self, connection: WorkerConnection) -> None:
        super().__init__(logging.INFO)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send("message", (record.levelno, record.name, record.getMessage()))

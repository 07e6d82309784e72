"""The messages between a worker process and the process that started it: lines of JSON through a Unix socket.

The starting process sends the request. It keeps its end open for as long as it lives. A worker sends:

    {"rank": 1, "pid": 4711}                              first of all, who it is
    {"log": {"loss": 1.2}, "step": 10}                    for ctx.log
    {"begin": "training", "total": 30, "unit": "step"}    a progress bar; {"update": 1, "note": ""} …, {"end": true}
    {"message": "…", "level": 30, "logger": "stc.system.memory"}    for the log
    {"result": …}                                         what its share yields
    {"error": "InputError", "text": "…"}                  an error; a fault of stc itself has a "trace" too
    {"done": true}

Imports no torch.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stc.pipeline.stage import Context, Inputs, Progress
from stc.store.artifact import Artifact, Kind


class Connection:
    """The worker's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._sending = threading.Lock()

    def send(self, **message: Any) -> None:
        with self._sending:
            self._socket.sendall(encode_message(message))

    def receive_request(self) -> Any:
        """Return the request. From then on this process ends as soon as the other end is closed.

        The starting process may have been killed, and then nobody waits for what is computed here.
        """
        with self._socket.makefile("rb") as file:
            request = json.loads(file.readline() or "null")
        threading.Thread(target=self._exit_when_closed, daemon=True).start()
        return request

    def _exit_when_closed(self) -> None:
        self._socket.recv(1)  # nothing more is ever sent
        os._exit(1)

    def context(self, values: Mapping[str, Any], *, reports: bool) -> Context:
        """Return a stage's context. Its metrics and progress go to the other end if it ``reports``, else nowhere."""

        def report(**message: Any) -> None:
            if reports:
                self.send(**message)

        @contextmanager
        def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
            report(begin=title, total=total, unit=unit)
            yield SimpleNamespace(update=lambda n=1, note="": report(update=n, note=note))
            report(end=True)

        def log(metrics: Mapping[str, float], step: int | None = None) -> None:
            report(log={name: float(value) for name, value in metrics.items()}, step=step)

        arguments = {**values, "scratch": Path(values["scratch"]), "log": log, "progress": progress}
        return Context(**arguments)


class LogForwarder(logging.Handler):
    """A log handler that sends what is logged to the other end."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.INFO)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(message=record.getMessage(), level=record.levelno, logger=record.name)


def encode_message(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def context_to_json(ctx: Context) -> dict[str, Any]:
    """Return the fields of a context that are plain values."""
    values = {one.name: getattr(ctx, one.name) for one in fields(ctx) if one.name not in ("log", "progress")}
    return values | {"scratch": str(ctx.scratch.absolute())}


def inputs_to_json(inputs: Inputs) -> dict[str, Any]:
    return {
        name: inputs_to_json(one)
        if isinstance(one, Mapping)
        else {"kind": one.kind, "path": str(one.path.absolute()), "identity": one.identity, "facts": dict(one.facts)}
        for name, one in inputs.items()
    }


def inputs_from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that :func:`inputs_to_json` was given."""
    return {
        name: Artifact(Kind(one["kind"]), Path(one["path"]), one["identity"], one["facts"])
        if isinstance(one.get("path"), str)
        else inputs_from_json(one)
        for name, one in values.items()
    }

"""What a process that works and the one that started it tell each other: lines of JSON, through a Unix socket.

The starting one sends the request, and holds its end for as long as it lives. From a process that works come:

    {"rank": 1, "pid": 4711}                              who it is, first of all
    {"log": {"loss": 1.2}, "step": 10}                    for ctx.log
    {"begin": "training", "total": 30, "unit": "step"}    of a bar, then {"update": 1, "note": ""} …, {"end": true}
    {"says": "…", "level": 30, "logger": "stc.system.memory"}    for the log
    {"gives": …}                                          what its share yields
    {"fails": "InputError", "message": "…"}               or, of a fault of stc's, with "trace"
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
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from stc.pipeline.stage import Context, Inputs, Progress
from stc.store.artifact import Artifact, Kind


class Connection:
    """The end of a process that works."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._sending = threading.Lock()

    def send(self, **message: Any) -> None:
        with self._sending:
            self._socket.sendall(encode_message(message))

    def receive_request(self) -> Any:
        """What is asked for. From then on this process ends at once when the other end is closed, whatever it is at:
        the starting process may have been killed outright, and nobody would wait for what is computed here."""
        with self._socket.makefile("rb") as file:
            asked = json.loads(file.readline() or "null")
        threading.Thread(target=self._end_with_the_other, daemon=True).start()
        return asked

    def _end_with_the_other(self) -> None:
        self._socket.recv(1)  # nothing more is ever sent
        os._exit(1)

    def context(self, values: Mapping[str, Any], *, heard: bool) -> Context:
        """A context whose metrics and progress go to the other end, if they are to be ``heard``."""

        @contextmanager
        def shown(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
            self.send(begin=title, total=total, unit=unit)
            yield _Bar(self)
            self.send(end=True)

        def log(metrics: Mapping[str, float], step: int | None = None) -> None:
            self.send(log={name: float(value) for name, value in metrics.items()}, step=step)

        told = {**values, "scratch": Path(values["scratch"]), "log": log, "progress": shown}
        ctx = Context(**told)
        return ctx if heard else replace(ctx, log=lambda *_, **__: None, progress=_unseen)


class _Bar:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def update(self, n: int = 1, note: str = "") -> None:
        self._connection.send(update=n, note=note)


@contextmanager
def _unseen(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
    class Nothing:
        def update(self, n: int = 1, note: str = "") -> None:
            pass

    yield Nothing()


class LogForwarder(logging.Handler):
    """Hands on what is logged."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.INFO)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(says=record.getMessage(), level=record.levelno, logger=record.name)


def encode_message(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def context_to_json(ctx: Context) -> dict[str, Any]:
    """What of a context another process can be told."""
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
    """What :func:`inputs_to_json` was given."""
    return {
        name: Artifact(Kind(one["kind"]), Path(one["path"]), one["identity"], one["facts"])
        if isinstance(one.get("path"), str)
        else inputs_from_json(one)
        for name, one in values.items()
    }

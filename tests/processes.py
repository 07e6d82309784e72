"""Processes that work on one store, as tests need them: started by fork, and killed at the end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_FORK = multiprocessing.get_context("fork")


@contextmanager
def working(*jobs: Callable[[], Any]) -> Iterator[list[BaseProcess]]:
    """A process for each of ``jobs``; those that still run at the end are killed."""
    processes = [_FORK.Process(target=job, daemon=True) for job in jobs]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def at_once(count: int, job: Callable[[], Any]) -> None:
    """``job`` in ``count`` processes that begin it at the same time; none may fail."""
    barrier = _FORK.Barrier(count)

    def begin() -> None:
        barrier.wait()
        job()

    with working(*[begin] * count) as processes:
        ended(*processes)


def ended(*processes: BaseProcess) -> None:
    """Wait for the end of processes that have to end well."""
    for process in processes:
        process.join(30)
        assert process.exitcode == 0


def send(process: BaseProcess, signum: signal.Signals) -> None:
    assert process.pid is not None
    os.kill(process.pid, signum)


def note(log: Path, line: str) -> None:
    """Add a line to a file that several processes write to: whole, and at the end."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def noted(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def await_note(log: Path, line: str) -> None:
    until(lambda: line in noted(log), f"{line!r} in {log.name}")


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)

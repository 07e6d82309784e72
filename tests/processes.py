"""Processes as tests need them: those that work on one store, and commands that need not import what they use."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

_FORK = multiprocessing.get_context("fork")


class Command:
    """A command in a process of its own that starts with its libraries imported, which takes longer than what most
    tests ask of it. It is forked from a process that has imported them (``prepared.py``) and has done nothing else.

    Only a fresh process (``subprocess``) proves what a command imports, and that it can be started at all.

    Args:
        program: a module, as ``python -m`` takes it, or the path of a script.
        folder: where it runs; here unless given.
        first: what the process does before, as a function of a test's module.
    """

    def __init__(
        self, program: str, *arguments: str, folder: Path | None = None, first: Callable[[], object] | None = None
    ) -> None:
        self._out, self._err = tempfile.NamedTemporaryFile(), tempfile.NamedTemporaryFile()  # noqa: SIM115
        said = (self._out.name, self._err.name)
        place = folder or Path.cwd()
        self._process = _prepared().Process(
            target=_begin, args=(program, arguments, dict(os.environ), place, said, first)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        return Path(self._out.name).read_text()

    @property
    def stderr(self) -> str:
        return Path(self._err.name).read_text()

    def send(self, signum: signal.Signals) -> None:
        """To the command and what it has started."""
        os.killpg(self.pid, signum)

    def wait(self, seconds: float = 300) -> int:
        """The exit code, negative where a signal has killed it; a command that goes on for longer is killed."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"it did not end in {seconds} s: {self.stderr}")
        return self._process.exitcode


def stages_begun(text: str) -> list[str]:
    """The stages that a run says it begins, in order: ``heal``, ``importance.2``."""
    found = re.findall(r"^\[ *\d+/\d+\] ([a-z_0-9]+)(?: (\d+) of \d+)? *  ", text.replace("\r", "\n"), re.MULTILINE)
    return [f"{name}.{link}" if link else name for name, link in found]


@cache
def _prepared() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["prepared"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        forkserver.ensure_running()
    return context


def _begin(
    program: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    said: tuple[str, str],
    first: Callable[[], object] | None,
) -> None:
    os.setsid()
    for number, name in enumerate(said, start=1):
        descriptor = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = [program, *arguments]
    if first is not None:
        first()
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


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
        process.join(120)
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


def until(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)

"""The process that starts workers, reads what they send, and outlives them.

Whatever way it ends, they end too. If it is told to stop, it lets the first worker end in order. If it is killed, the
kernel closes its sockets, and each worker ends when its own is closed (``protocol.py``).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from stc.errors import InputError, ModelError, StcError
from stc.pipeline.stage import Context, Inputs, Progress
from stc.system.machine import usable_cores
from stc.workers.protocol import Request
from stc.workers.stage import ParallelStage

STOP_SECONDS = 100.0  # for the first worker to end in order: SLURM's notice is 120 (conf/hydra/launcher)
REPORT_SECONDS = 2.0  # after one worker's failure, for the others to report theirs
END_SECONDS = 10.0  # for the workers to end by themselves
OUTPUT_LINES = 20  # of the workers' output that are shown where there is no other message

_POLL_SECONDS = 0.5  # how often to check that torchrun still runs
_ERRORS: dict[str, type[StcError]] = {one.__name__: one for one in (StcError, InputError, ModelError)}


def launch(stage: ParallelStage, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
    """Run ``stage.run_share`` in ``ctx.processes`` processes, and yield their results as they come.

    Raises:
        StcError: a process failed, in its own words, or was killed.
    """
    _free_gpu_memory()
    functions: dict[str, Any] = {"log": None, "progress": None}  # cannot be sent
    # A worker starts no others, and has its part of the readers.
    share = replace(ctx, processes=1, workers=-(-ctx.workers // ctx.processes), **functions)
    request = Request(stage, inputs, work, share)
    with (
        tempfile.TemporaryDirectory(prefix="stc-") as folder,  # not scratch: a socket's path must be short
        socket.socket(socket.AF_UNIX) as listener,
        tempfile.TemporaryFile() as output,
    ):
        address = f"{folder}/socket"
        listener.bind(address)
        listener.listen(ctx.processes)
        workers = _WorkerProcesses(_torchrun(address, ctx.processes, output), listener, request, ctx)
        try:
            yield from workers.results()
        except KeyboardInterrupt:
            workers.stop()
            raise
        finally:
            workers.end()
        output.seek(0)
        workers.raise_errors(type(stage).__name__.lower(), output.read().decode(errors="replace").strip())


def _torchrun(address: str, count: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "stc.workers", address]
    # Only this process is to handle signals: Ctrl-C goes to a whole group, and SLURM sends its own to every process of
    # a job. A signal mask is inherited.
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        return subprocess.Popen(
            [sys.executable, *run],
            env={"OMP_NUM_THREADS": str(max(1, usable_cores() // count)), **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_gpu_memory() -> None:
    """Free what earlier stages have left on the GPU: a worker will compute there."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        import gc

        gc.collect()
        torch.cuda.empty_cache()


@dataclass
class _Worker:
    """One of the processes. ``error`` is what it sent when it failed."""

    rank: int = -1
    pid: int = 0
    done: bool = False
    gone: bool = False
    error: Exception | None = None

    @property
    def lost(self) -> bool:
        """Return whether it ended without saying why."""
        return self.gone and not self.done and self.error is None


class _WorkerProcesses:
    def __init__(self, torchrun: subprocess.Popen[bytes], listener: socket.socket, request: Request, ctx: Context):
        self._torchrun = torchrun
        self._listener = listener
        self._request = request
        self._ctx = ctx
        self._workers: dict[Connection, _Worker] = {}
        self._bars: list[tuple[ExitStack, Progress]] = []
        self._logged: set[tuple[int, str, str]] = set()

    def results(self) -> Iterator[Any]:
        """Yield the workers' results until all are done or one has failed."""
        failed: float | None = None
        while not self._finished():
            running = self._torchrun.poll() is None
            ready = wait([self._listener, *self._open()], _POLL_SECONDS if running else 0)
            for one in ready:
                if isinstance(one, Connection):
                    yield from self._receive(one)
                else:
                    self._accept()
            workers = self._workers.values()
            if failed is None and (not running or any(worker.error or worker.lost for worker in workers)):
                failed = time.monotonic()
            if failed is not None and (time.monotonic() - failed > REPORT_SECONDS or (not running and not ready)):
                return

    def stop(self) -> None:
        """Tell the first worker to end in order, and wait for that."""
        first = next((one for one in self._open() if self._workers[one].rank == 0), None)
        if first is None:
            return
        os.kill(self._workers[first].pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not self._workers[first].gone and time.monotonic() < deadline:
            if first.poll(_POLL_SECONDS):
                list(self._receive(first))  # for its log; its results are of no more use

    def end(self) -> None:
        """Return when no worker is left; kill those that do not end by themselves."""
        for stack, _ in reversed(self._bars):
            stack.close()
        for connection in self._workers:
            connection.close()
        try:
            self._torchrun.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            import psutil

            for process in [*psutil.Process(self._torchrun.pid).children(recursive=True), self._torchrun]:
                process.kill()
            self._torchrun.wait()

    def raise_errors(self, stage: str, output: str) -> None:
        """Raise the error of a worker, if one failed. ``output`` is what torchrun and the workers have printed."""
        if self._finished():
            return
        count = self._ctx.processes
        workers = sorted(self._workers.values(), key=lambda one: one.rank)
        for one in workers:
            if isinstance(one.error, StcError):
                raise one.error
        # torchrun stops the others when one has died, and names that one.
        killed = {int(rank): number for number, rank in re.findall(r"exitcode: -(\d+)\) local_rank: (\d+)\b", output)}
        if lost := sorted((one.rank not in killed, one.rank) for one in workers if one.lost):
            rank = lost[0][1]
            how = f"was killed by signal {killed[rank]}" if rank in killed else "ended without a message"
            raise StcError(
                f"{stage}: process {rank + 1} of {count} {how}. The kernel kills a process when memory runs out: "
                f"resources.processes={count - 1} takes less, and so does a smaller resources.train_micro_batch or "
                "resources.decode_batch. The same command continues where it was"
            )
        for one in workers:
            if one.error is not None:
                raise RuntimeError(f"{stage}: process {one.rank + 1} of {count} failed\n{one.error}")
        last = "\n".join(output.splitlines()[-OUTPUT_LINES:])
        raise StcError(f"{stage}: {count} processes could not be started\n{last}")

    def _finished(self) -> bool:
        return len(self._workers) == self._ctx.processes and all(one.done for one in self._workers.values())

    def _open(self) -> list[Connection]:
        return [connection for connection, worker in self._workers.items() if not worker.gone]

    def _accept(self) -> None:
        connection = Connection(self._listener.accept()[0].detach())
        self._workers[connection] = _Worker()
        connection.send(self._request)

    def _receive(self, connection: Connection) -> Iterator[Any]:
        """Handle the next message of a worker. Yield it if it is a result."""
        worker = self._workers[connection]
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            worker.gone = True
            return
        match kind:
            case "result":
                yield value
            case "process":
                worker.rank, worker.pid = value
            case "log":
                self._ctx.log(value[0], step=value[1])
            case "begin":
                title, total, unit = value
                stack = ExitStack()
                self._bars.append((stack, stack.enter_context(self._ctx.progress(title, total=total, unit=unit))))
            case "update":
                self._bars[-1][1].update(*value)
            case "end":
                self._bars.pop()[0].close()
            case "message":
                if value not in self._logged:  # what all workers log is logged once
                    self._logged.add(value)
                    level, name, text = value
                    logging.getLogger(name).log(level, "%s", text)
            case "error":
                name, text = value
                worker.error = _ERRORS.get(name, StcError)(text)
            case "fault":
                worker.error = RuntimeError(value)
            case "done":
                worker.done = True

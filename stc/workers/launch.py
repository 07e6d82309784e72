"""The process that has others work: it starts them, hears them, and outlives them.

Whatever way it ends, they end: told to stop, it has the first of them end in order; killed outright, its sockets are
closed by the kernel, and each of them ends when its own is (``protocol.py``).
"""

from __future__ import annotations

import json
import logging
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

from stc.errors import InputError, ModelError, StcError
from stc.pipeline.stage import Context, Inputs, Progress
from stc.system.machine import usable_cores
from stc.workers.protocol import context_to_json, encode_message, inputs_to_json
from stc.workers.stage import ParallelStage

STOP_SECONDS = 100.0  # that the first process has for ending in order: SLURM's notice is 120 (conf/hydra/launcher)
HEARSAY_SECONDS = 2.0  # from one process's failure on, for the others to say what they met
END_SECONDS = 10.0  # that they have for ending by themselves
TAIL = 20  # lines of what they said that are shown where that is all there is

_LOOK_SECONDS = 0.5  # whether torchrun is still there
_ERRORS: dict[str, type[StcError]] = {one.__name__: one for one in (StcError, InputError, ModelError)}


def launch(stage: ParallelStage, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
    """What ``stage.run_share`` yields in ``ctx.processes`` processes, as it comes.

    Raises:
        StcError: what a process met, in its own words, or that it was killed.
    """
    _make_room()
    request = {
        "module": type(stage).__module__,
        "stage": type(stage).__name__,
        "fields": stage.model_dump(mode="json"),
        "inputs": inputs_to_json(inputs),
        "work": dict(work),
        "context": _of_each(ctx),
    }
    with (
        tempfile.TemporaryDirectory(prefix="stc-") as folder,  # not scratch: a socket's path must be short
        socket.socket(socket.AF_UNIX) as door,
        tempfile.TemporaryFile() as said,
    ):
        door.bind(f"{folder}/door")
        door.listen(ctx.processes)
        workers = _WorkerProcesses(_torchrun(f"{folder}/door", ctx.processes, said), door, encode_message(request), ctx)
        try:
            yield from workers.hear()
        except KeyboardInterrupt:
            workers.stop()
            raise
        finally:
            workers.end()
        workers.raise_faults(type(stage).__name__.lower(), _text(said))


def _of_each(ctx: Context) -> dict[str, Any]:
    """What each process is told of the context: it starts no others, and has its part of the readers."""
    return context_to_json(ctx) | {"processes": 1, "workers": -(-ctx.workers // ctx.processes)}


def _torchrun(address: str, count: int, said: IO[bytes]) -> subprocess.Popen[bytes]:
    cores = usable_cores()
    run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "stc.workers", address]
    # Signals are for this process to hear: Ctrl-C goes to a whole group, and SLURM sends its own to every process of a
    # job. A mask is inherited.
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        return subprocess.Popen(
            [sys.executable, *run],
            env={"OMP_NUM_THREADS": str(max(1, cores // count)), **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _make_room() -> None:
    """What earlier stages have left on the GPU is of no more use, and one of the processes will compute there."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        import gc

        gc.collect()
        torch.cuda.empty_cache()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


@dataclass
class _Worker:
    """One of the processes. ``fault`` is its last message, where that says what it failed of."""

    connection: socket.socket
    rank: int = -1
    pid: int = 0
    unread: bytes = b""
    done: bool = False
    gone: bool = False
    fault: Mapping[str, Any] | None = None


class _WorkerProcesses:
    """The processes, and what is heard of them."""

    def __init__(self, agent: subprocess.Popen[bytes], door: socket.socket, request: bytes, ctx: Context) -> None:
        self._agent = agent
        self._door = door
        self._request = request
        self._ctx = ctx
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(door, selectors.EVENT_READ)
        self._bars: list[tuple[ExitStack, Progress]] = []
        self._said: set[tuple[str, str]] = set()

    def hear(self) -> Iterator[Any]:
        """What they give, until all are done or one is not going to be."""
        troubled: float | None = None
        while not self._finished():
            running = self._agent.poll() is None
            events = self._selector.select(_LOOK_SECONDS if running else 0)
            for key, _ in events:
                if key.fileobj is self._door:
                    self._admit()
                else:
                    yield from self._read(key.data)
            if troubled is None and (not running or any(one.fault or self._lost(one) for one in self._workers)):
                troubled = time.monotonic()
            if troubled is not None and (time.monotonic() - troubled > HEARSAY_SECONDS or (not running and not events)):
                return

    def stop(self) -> None:
        """Have the first process end in order, and wait for that."""
        first = next((one for one in self._workers if one.rank == 0 and not one.gone), None)
        if first is None:
            return
        os.kill(first.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not first.gone and time.monotonic() < deadline:
            for key, _ in self._selector.select(_LOOK_SECONDS):
                if key.data is first:
                    for _ in self._read(first):  # what it has found is of no more use; what it says is
                        pass

    def end(self) -> None:
        """Nobody is left when this returns."""
        for stack, _ in reversed(self._bars):
            stack.close()
        self._selector.close()
        for one in self._workers:
            one.connection.close()
        try:
            self._agent.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            import psutil

            for process in [*psutil.Process(self._agent.pid).children(recursive=True), self._agent]:
                process.kill()
            self._agent.wait()

    def raise_faults(self, what: str, said: str) -> None:
        """Raise what kept them from their end, if anything did; ``said`` is what torchrun and they have written."""
        if self._finished():
            return
        count = self._ctx.processes
        workers = sorted(self._workers, key=lambda one: one.rank)
        for one in workers:
            if one.fault is not None and "trace" not in one.fault:
                raise _ERRORS.get(one.fault["fails"], StcError)(one.fault["message"])
        # torchrun stops the others when one has died, and names that one.
        killed = {int(rank): number for number, rank in re.findall(r"exitcode: -(\d+)\) local_rank: (\d+)\b", said)}
        if lost := sorted((one.rank not in killed, one.rank) for one in workers if self._lost(one)):
            rank = lost[0][1]
            how = f"was killed by signal {killed[rank]}" if rank in killed else "ended without a word"
            raise StcError(
                f"{what}: process {rank + 1} of {count} {how}. Where memory runs out the kernel does that: "
                f"resources.processes={count - 1} takes less, and so does a smaller resources.train_micro_batch or "
                "resources.decode_batch. The same command goes on where it was"
            )
        tail = "\n".join(said.splitlines()[-TAIL:])
        for one in workers:
            if one.fault is not None:
                raise RuntimeError(f"{what}: process {one.rank + 1} of {count} failed\n{one.fault['trace']}")
        raise StcError(f"{what}: {count} processes could not be started\n{tail}")

    def _finished(self) -> bool:
        return len(self._workers) == self._ctx.processes and all(one.done for one in self._workers)

    def _lost(self, one: _Worker) -> bool:
        return one.gone and not one.done and one.fault is None

    def _admit(self) -> None:
        connection, _ = self._door.accept()
        worker = _Worker(connection)
        self._workers.append(worker)
        self._selector.register(connection, selectors.EVENT_READ, worker)
        connection.sendall(self._request)

    def _read(self, worker: _Worker) -> Iterator[Any]:
        """Take what a process has sent; yields what it gives."""
        try:
            heard = worker.connection.recv(2**16)
        except ConnectionResetError:
            heard = b""
        if not heard:
            worker.gone = True
            self._selector.unregister(worker.connection)
        *lines, worker.unread = (worker.unread + heard).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "gives" in message:
                yield message["gives"]
            else:
                self._take(worker, message)

    def _take(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        match message:
            case {"rank": rank, "pid": pid}:
                worker.rank, worker.pid = rank, pid
            case {"log": metrics, "step": step}:
                self._ctx.log(metrics, step=step)
            case {"begin": title, "total": total, "unit": unit}:
                stack = ExitStack()
                self._bars.append((stack, stack.enter_context(self._ctx.progress(title, total=total, unit=unit))))
            case {"update": count, "note": note}:
                self._bars[-1][1].update(count, note)
            case {"end": True}:
                self._bars.pop()[0].close()
            case {"says": text, "level": level, "logger": name}:
                if (name, text) not in self._said:  # what all of them say is said once
                    self._said.add((name, text))
                    logging.getLogger(name).log(level, "%s", text)
            case {"fails": _}:
                worker.fault = message
            case {"done": True}:
                worker.done = True

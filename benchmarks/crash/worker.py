"""A worker: stc.run in a process of its own, forked from one that has the heavy libraries, so that it starts at once.

It is stc's code that runs, with its own arguments. Replaced are the points of points.py; and three constants, so that a
training of seconds has checkpoints and a lease heartbeats.
"""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

from crash.points import Plan, Points, end_here

LEAST_SECONDS, SHARE = 0.2, 1.0  # of a checkpoint to the next, and of the time for writing them
LEASE_SECONDS = 6.0  # without a heartbeat, which then comes every second

STARTS, BETWEEN, ENDS = "starts", "looks for work, or waits", "plots, table and result"


def preload() -> None:
    """Import what the stages do, and have Hydra find its plugins; no computing, since threads do not survive a fork."""
    for name in ("accelerate", "bitsandbytes", "matplotlib.pyplot", "peft", "sacrebleu", "soundfile", "transformers"):
        importlib.import_module(name)
    from hydra.core.plugins import Plugins

    import stc.stages

    Plugins.instance()
    for module in pkgutil.walk_packages(stc.__path__, "stc."):
        apart = ("talks", "stc.decoding.gpu_kernels")  # what a run doesn't import, or only on a GPU
        if not module.name.startswith(apart) and "__main__" not in module.name:
            importlib.import_module(module.name)
    gc.freeze()  # a worker's garbage collector need not go through, and so copy, all of that


class Where:
    """Where a worker is, for whoever looks after it has died: its stage, and the point at which it ended itself."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 256)  # shared with the worker
        self.set(STARTS)

    def set(self, stage: str, point: str = "") -> None:
        self._memory[:] = f"{stage}\t{point}".encode().ljust(256, b"\0")

    def get(self) -> tuple[str, str]:
        stage, _, point = self._memory[:].rstrip(b"\0").decode().partition("\t")
        return stage, point


class Events:
    """What workers did, in a file that all of them append to: words of a line, after the second."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, *words: object) -> None:
        line = " ".join(map(str, (f"{time.monotonic():.4f}", *words)))
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def read(self) -> list[tuple[float, list[str]]]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [(float(moment), words) for moment, *words in (line.split() for line in lines)]


def start(arguments: Sequence[str], log: Path, where: Where, events: Events, plan: Plan | None) -> int:
    """The process id of a worker, which leads a group of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["stc.run", *arguments]
        _watch(where, events, plan)
        from stc.run import main

        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(where: Where, events: Events, plan: Plan | None) -> None:
    import stc.pipeline.runner
    import stc.pruning.greedy
    import stc.store
    import stc.training.checkpoints as checkpoints

    checkpoints.LEAST_SECONDS, checkpoints.SHARE = LEAST_SECONDS, SHARE
    stc.store.Store.__init__ = partialmethod(stc.store.Store.__init__, lease_seconds=LEASE_SECONDS)  # type: ignore

    def die(point: str) -> None:
        where.set(where.get()[0], point)
        end_here()

    def happened(label: str, path: str, refused: bool) -> None:
        if refused:
            events.note("refused", _identity(path), label)
        elif label == "publish: put in its place":
            events.note("published", Path(path).name)
        elif label == "checkpoint: put in its place":
            events.note("checkpoint", _identity(path), int(Path(path).name))
        elif label == "damaged checkpoint: set aside":
            events.note("unusable", _identity(path))
        elif label == "round: score of a layer":
            events.note("scored", _identity(path), Path(path).read_text().count("\n"))

    Points(plan, die, happened)
    publish = stc.store.Store.publish

    @contextmanager
    def publishing(self: Any, kind: Any, identity: str) -> Iterator[Any]:
        with publish(self, kind, identity) as made:
            events.note("begun", identity)
            yield made

    stc.store.Store.publish = publishing  # type: ignore
    stc.pipeline.runner.Evaluation._make = _staged(stc.pipeline.runner.Evaluation._make, where)  # type: ignore
    stc.pipeline.runner.Evaluation.run = _within(stc.pipeline.runner.Evaluation.run, where)  # type: ignore

    resume = checkpoints.Checkpoints.resume

    def resuming(self: Any) -> int:
        steps = resume(self)
        events.note("resumed", _identity(str(self._folder)), steps)
        return steps

    checkpoints.Checkpoints.resume = resuming  # type: ignore
    recover = stc.pruning.greedy.recover_scores

    def recovering(journal: Path) -> Any:
        scores = recover(journal)
        events.note("recovered", _identity(str(journal)), len(scores))
        return scores

    stc.pruning.greedy.recover_scores = recovering


def _staged(make: Callable[..., Any], where: Where) -> Callable[..., Any]:
    def making(self: Any, node: Any, *rest: Any) -> Any:
        where.set(node.name)
        try:
            return make(self, node, *rest)
        finally:
            where.set(BETWEEN)

    return making


def _within(run: Callable[..., Any], where: Where) -> Callable[..., Any]:
    def running(self: Any, *arguments: Any) -> Any:
        where.set(BETWEEN)
        done = run(self, *arguments)
        where.set(ENDS)
        return done

    return running


def _identity(path: str) -> str:
    """Of the artifact whose lease's folder a path is in."""
    return path.partition("/.building/")[2].partition(".")[0]

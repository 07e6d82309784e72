"""Stages for the tests of sharing out: in a module of its own, which the processes that share them import."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.errors import InputError
from stc.pipeline.stage import Context, Inputs, Takes
from stc.store.artifact import Kind
from stc.workers.stage import Shared


class Work(Shared):
    """Does as it is told by ``how``."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {}
    GIVES: ClassVar[Kind] = Kind.CHECK

    how: str = "well"

    def share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        from stc.workers.worker import current

        team = current()
        (ctx.scratch / f"{team.rank}.pid").write_text(str(os.getpid()))
        getattr(self, f"_{self.how}")(team, ctx)
        with ctx.progress("working", total=1) as bar:
            for item in team.deal(work["items"]):
                yield [team.rank, item]
            bar.update(1)
        ctx.log({"processes": team.size}, step=1)

    def _well(self, team: Any, ctx: Context) -> None:
        logging.getLogger("stc.work").warning("all say this")

    def _wrongly(self, team: Any, ctx: Context) -> None:
        if team.rank == 1:
            raise InputError("talk.wav: no audio file")
        team.everybodys(0)  # would wait forever

    def _faultily(self, team: Any, ctx: Context) -> None:
        if team.rank == 1:
            raise ZeroDivisionError("a fault of stc's")
        team.everybodys(0)

    def _mortally(self, team: Any, ctx: Context) -> None:
        if team.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        team.everybodys(0)

    def _endlessly(self, team: Any, ctx: Context) -> None:
        (ctx.scratch / f"{team.rank}.at_work").touch()
        try:
            time.sleep(600)
        finally:  # told to stop; not reached by a process that is killed outright
            (ctx.scratch / f"{team.rank}.stopped").touch()


def run(how: str, scratch: str) -> None:
    """A run by itself, in two processes."""
    from contextlib import nullcontext

    from stc.system.signals import killable

    ctx = Context("cpu", 0, 4, 4, Path(scratch), lambda *_, **__: None, lambda *_, **__: nullcontext(), processes=2)  # type: ignore[arg-type, return-value]
    with killable():
        list(Work(how=how).spread({}, {"items": []}, ctx))

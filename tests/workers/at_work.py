"""A stage for the tests of workers, in a module of its own that the workers import."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.errors import InputError
from stc.pipeline.stage import Context, Inputs, StageInput
from stc.store.artifact import Kind
from stc.workers.stage import ParallelStage


class Work(ParallelStage):
    """Works in the way that ``how`` names."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.CHECK

    how: str = "well"

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        from stc.workers.worker import current_group

        group = current_group()
        (ctx.scratch / f"{group.rank}.pid").write_text(str(os.getpid()))
        getattr(self, f"_{self.how}")(group, ctx)
        with ctx.progress("working", total=1) as bar:
            for item in group.share_of(work["items"]):
                yield [group.rank, item]
            bar.update(1)
        ctx.log({"processes": group.size}, step=1)

    def _well(self, group: Any, ctx: Context) -> None:
        logging.getLogger("stc.work").warning("all say this")

    def _wrongly(self, group: Any, ctx: Context) -> None:
        if group.rank == 1:
            raise InputError("talk.wav: no audio file")
        group.gather(0)  # would wait forever

    def _faultily(self, group: Any, ctx: Context) -> None:
        if group.rank == 1:
            raise ZeroDivisionError("a fault of stc's")
        group.gather(0)

    def _mortally(self, group: Any, ctx: Context) -> None:
        if group.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        group.gather(0)

    def _endlessly(self, group: Any, ctx: Context) -> None:
        (ctx.scratch / f"{group.rank}.at_work").touch()
        try:
            time.sleep(600)
        finally:  # told to stop; not reached by a process that is killed outright
            (ctx.scratch / f"{group.rank}.stopped").touch()


def run(how: str, scratch: str) -> None:
    """Run the stage in two workers."""
    from contextlib import nullcontext

    from stc.system.signals import killable

    ctx = Context("cpu", 0, 4, 4, Path(scratch), lambda *_, **__: None, lambda *_, **__: nullcontext(), processes=2)  # type: ignore[arg-type, return-value]
    with killable():
        list(Work(how=how).run_shares({}, {"items": []}, ctx))

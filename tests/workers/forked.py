"""Workers forked from the process of the tests: this is quick, since everything is imported already."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from processes import ended, note, noted, working

from stc.pipeline.stage import Context, Inputs
from stc.workers.stage import ParallelStage
from stc.workers.worker import process_group


def together(count: int, run: Callable[[], None]) -> None:
    """Call ``run`` in ``count`` processes that are a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def one(rank: int) -> None:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        with process_group("cpu"):
            run()

    with working(*(partial(one, rank) for rank in range(count))) as processes:
        ended(*processes)


def launch(stage: ParallelStage, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
    """Replace :func:`stc.workers.launch.launch`. Results come when all processes have ended."""
    given = ctx.scratch / "given"
    given.unlink(missing_ok=True)

    def share() -> None:
        for found in stage.run_share(inputs, work, replace(ctx, processes=1)):
            note(given, json.dumps(found))

    together(ctx.processes, share)
    yield from map(json.loads, noted(given))

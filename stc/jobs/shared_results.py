"""Keeps, from the first to the last job of a command with several, what the jobs share (``store.keep=final``).

A job knows the needs of the runs that are at work, and not those of jobs that are still to come. So whoever starts the
jobs says the needs of all of them, by a plan. What depends on the choice of the layers to remove is identified once the
store has that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stc.config.composition import ComposedJob
from stc.models import read_config
from stc.models.hub import HubModel
from stc.planning.planned_jobs import plan_jobs
from stc.store import Store
from stc.store.needs import LiveRun, Needs, joined, live_run


@contextmanager
def kept_for_all(jobs: Sequence[ComposedJob]) -> Iterator[Callable[[], None]]:
    """While the block lasts, keep what several jobs share until none of them needs it.

    Yields a function that drops what is left, to be called once all jobs have finished.

    Raises:
        StcError: a model of the hub that they start from cannot be had, or the store cannot be written to.
    """
    told: list[tuple[LiveRun, Needs]] = []
    with ExitStack() as stack:
        several = len(jobs) > 1 or any(job.plan.config.seeds for job in jobs)
        if several and any(job.plan.config.store.keep == "final" for job in jobs):
            folders = {job.plan.config.store.dir for job in jobs}
            # Before planning: in a store that does not exist, a plan does not identify what comes from outside.
            at_work = {folder: stack.enter_context(live_run(Store(folder))) for folder in sorted(folders)}
            told = [(at_work[folder], needs) for folder, needs in _needs_by_store(jobs).items()]
            for live, needs in told:
                live.tell(needs)

        def drop_rest() -> None:
            for live, needs in told:
                for identity in live.drop(needs.finished()):
                    print(f"{identity[:8]}: dropped, no job needs it any more", file=sys.stderr)

        yield drop_rest


def _needs_by_store(jobs: Sequence[ComposedJob]) -> dict[Path, Needs]:
    for pipeline in (job.plan.pipeline for job in jobs):
        for source in (pipeline.nodes[name].source for name in pipeline.required_nodes()):
            if isinstance(source, HubModel):
                source.fetch(read_config)  # the first job would, and without it nothing can be identified
    needs: dict[Path, list[Needs]] = {}
    for job in plan_jobs(jobs):
        needs.setdefault(job.config.store.dir, []).append(job.needs(job.config.store.keep))
    return {folder: joined(found) for folder, found in needs.items()}

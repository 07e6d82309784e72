"""Results that another process seems to be making, so that whoever needs them waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments
from stc.pipeline.runner import Evaluation
from stc.store import Store


class _Abandoned(Exception):
    pass


class Held:
    """Stages of runs, with their leases in this process until :meth:`release`; nothing is made."""

    def __init__(self, root: Path, arguments: Sequence[str], *stages: str) -> None:
        store = Store(root)
        self._leases = ExitStack()
        self._leases.enter_context(suppress(_Abandoned))
        for job in compose_jobs(check_arguments(list(arguments))):
            context = job.plan.config.resources.context("cpu")
            found = Evaluation(job.plan.pipeline, store, lambda name, scratch, of=context: replace(of, scratch=scratch))
            for stage in stages:
                artifact = found.artifact(stage)
                self._leases.enter_context(store.publish(artifact.kind, artifact.identity))

    def release(self) -> None:
        """Give the leases up; whoever waits makes the results itself."""
        self._leases.__exit__(_Abandoned, _Abandoned(), None)
        self._leases = ExitStack()


@contextmanager
def held(root: Path, arguments: Sequence[str], *stages: str) -> Iterator[Held]:
    """While this lasts, runs that need one of these stages of the runs asked for wait for it.

    Args:
        root: of the store.
        arguments: as ``stc.run`` takes them; of a sweep, each job's stages are held.
    """
    leases = Held(root, arguments, *stages)
    try:
        yield leases
    finally:
        leases.release()

"""A stage that can share out its work over processes. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stc.pipeline.stage import Context, Inputs, Stage


class ParallelStage(Stage):
    """Its ``run`` takes what :meth:`run_shares` yields, and need not know how many processes there are."""

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        """What this process does of the work: its share, by :func:`stc.workers.worker.current_group`.

        Args:
            work: what ``run`` asks for, JSON-able; the same for every process.
            ctx: of the first process, what it logs and shows reaches the run; of the others nothing does.

        Yields:
            what is JSON-able, for ``run``.
        """
        raise NotImplementedError

    def run_shares(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        """What :meth:`run_share` yields, in ``ctx.processes`` processes; of several, as it comes.

        Raises:
            StcError: what a process met, in its own words, or that it was killed.
        """
        if ctx.processes == 1:
            return self.run_share(inputs, work, ctx)
        from stc.workers.launch import launch

        return launch(self, inputs, work, ctx)

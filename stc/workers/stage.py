"""A stage whose work several processes can share. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stc.pipeline.stage import Context, Inputs, Stage


class ParallelStage(Stage):
    """A stage that can share its work over processes.

    Its ``run`` takes what :meth:`run_shares` yields, and need not know how many processes there are.
    """

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        """Do this process's share of the work, given by :func:`stc.workers.worker.current_group`.

        Args:
            work: what ``run`` asks for, as JSON; the same in every process.
            ctx: only what the first process logs and shows reaches the run.

        Yields:
            results for ``run``, as JSON.
        """
        raise NotImplementedError

    def run_shares(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Any]:
        """Yield the results of :meth:`run_share` from ``ctx.processes`` processes, in the order they come.

        Raises:
            StcError: a process failed, in its own words, or was killed.
        """
        if ctx.processes == 1:
            return self.run_share(inputs, work, ctx)
        from stc.workers.launch import launch

        return launch(self, inputs, work, ctx)

"""The lines by which a run says what it is doing, on the console and in its log."""

from __future__ import annotations

import logging
import sys
import textwrap

from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import NodeResult
from stc.system.tables import WIDTH

log = logging.getLogger(__name__)


def report_progress(text: str) -> None:
    """Print to standard error, and to the job's log."""
    print(text, file=sys.stderr)
    log.info("%s", text.strip())


class StepLines:
    """Reports each stage that is made, as ``[18/36] heal  fine-tuning the 8-layer model …``, and those found.

    The numbers count all stages that the run needs, in the order of a run with an empty store. Why a stage is made, and
    its hash, are always in the log.

    Args:
        verbose: whether the reasons are on the console, too.
    """

    def __init__(self, pipeline: Pipeline, *, verbose: bool) -> None:
        nodes = pipeline.required_nodes()
        self._pipeline = pipeline
        self._numbers = {name: number for number, name in enumerate(nodes, 1)}
        self._titles = {name: _title(name, nodes) for name in nodes}
        self._column = max(map(len, self._titles.values()))
        self._verbose = verbose
        self._cached: list[str] = []
        self._reached = 0

    def begin(self, node: Node, activity: str, reason: str) -> None:
        """Report a stage that is about to run, for :class:`stc.pipeline.runner.Evaluation`."""
        self.report_cached()
        report_progress(self._line(self._numbers[node.name], f"{self._titles[node.name]:{self._column}}  {activity}"))
        if self._verbose:
            report_progress(f"    {reason}")
        else:
            log.info("%s", reason)

    def found(self, result: NodeResult) -> None:
        """Keep a result in mind if it was in the store."""
        if result.cached and self._pipeline.nodes[result.name].source is None:
            self._cached.append(result.name)

    def report_cached(self) -> None:
        """Report the results found since the last line."""
        if self._cached:
            last = max(self._reached, *(self._numbers[name] for name in self._cached))
            report_progress(self._line(last, f"cached: {', '.join(self._titles[name] for name in self._cached)}"))
            self._cached.clear()

    def _line(self, number: int, text: str) -> str:
        self._reached = number
        count = len(self._numbers)
        head = f"[{number:{len(str(count))}}/{count}] "
        return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _title(name: str, nodes: list[str]) -> str:
    """Return the name of a stage; of a link of a chain, ``importance 3 of 8``."""
    chain, _, link = name.rpartition(".")
    if not chain or not link.isdigit():
        return name
    links = [one for one in nodes if one.rpartition(".")[0] == chain]
    return f"{chain} {links.index(name) + 1} of {len(links)}"

"""The plan as text, for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.models.layout import AdapterSize, FeatureSize, Layout
from stc.planning.dry_run import PlannedStep, StepState
from stc.planning.jobs import PlannedJob

WIDTH = 118


@dataclass
class _Line:
    """The line of a step, or of several links of a chain that would have equal lines."""

    name: str
    state: str
    stage: str
    identity: str
    parameters: str
    bytes: str
    why: str
    last_name: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        name = f"{self.name}–{self.last_name.rpartition('.')[2]}" if self.last_name else self.name
        return name, self.state, self.stage, self.identity, self.parameters, self.bytes

    def continues(self, before: _Line) -> bool:
        """Return whether the step is the next link of the chain, and there is nothing else to say about it."""
        chain, _, number = (before.last_name or before.name).rpartition(".")
        is_next = chain and number.isdigit() and self.name == f"{chain}.{int(number) + 1}"
        return bool(is_next and before.state == self.state and not self.parameters and not self.why)


def format_jobs(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """Yield the lines of all jobs: the first in full, the others without what they share with earlier ones."""
    for number, job in enumerate(jobs):
        yield f"{job.name}: {job.title}"
        in_table = [one for one in job.steps if one.runs or (number == 0 and one.state is not StepState.UNNEEDED)]
        yield from _table(in_table)
        yield from _name_lists([one for one in job.steps if one not in in_table])
        yield ""


def _table(steps: Sequence[PlannedStep]) -> Iterator[str]:
    lines: list[_Line] = []
    for line in map(_line, steps):
        if lines and line.continues(lines[-1]):
            lines[-1].last_name, lines[-1].identity = line.name, line.identity
        else:
            lines.append(line)
    widths = [max(map(len, column)) for column in zip(*(line.cells for line in lines), strict=True)]
    for line in lines:
        padded = [
            cell.ljust(width) if column < 4 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line.cells, widths, strict=True))
        ]
        yield "  ".join(["", *padded]).rstrip()
        if line.why:
            yield from textwrap.wrap(line.why, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _line(step: PlannedStep) -> _Line:
    forecast = step.forecast
    identity = step.identity[:8]
    if step.after and step.after != step.name:
        identity = f"after {step.after}"
    elif step.node.source is not None:
        identity = _short_path(step.artifact.path) if step.artifact else getattr(step.node.source, "id", "")
    parameters = size = ""
    if isinstance(forecast, AdapterSize):
        parameters, size = f"{forecast.parameters:,} parameters", f"{forecast.weight_bytes:,} bytes"
    elif isinstance(forecast, FeatureSize):
        size = f"about {forecast.weight_bytes:,} bytes"
    elif isinstance(forecast, Layout):
        at_most = "at most " * forecast.largest
        parameters = f"{at_most}{forecast.counts.parameters:,} parameters"
        size = f"{at_most or 'about ' * (not forecast.exists)}{forecast.weight_bytes:,} bytes"
    return _Line(step.name, _state(step), step.node.stage_name, identity, parameters, size, step.why)


def _name_lists(steps: Sequence[PlannedStep]) -> Iterator[str]:
    """Yield the names of steps, grouped by their state."""
    found: dict[str, list[str]] = {}
    for one in steps:
        if one.node.source is None:
            found.setdefault(_state(one), []).append(one.name)
    for state, names in found.items():
        text = f"{state}: {', '.join(_join_chains(names))}"
        yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _join_chains(names: Sequence[str]) -> list[str]:
    """Return the names with the links of a chain as one: ``importance.1–8``."""
    chains: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"(.+)\.(\d+)", name)
        chains.setdefault(match[1] if match else name, []).append(match[2] if match else "")
    return [
        name if links == [""] else f"{name}.{links[0]}" + (f"–{links[-1]}" if len(links) > 1 else "")
        for name, links in chains.items()
    ]


def _state(step: PlannedStep) -> str:
    if step.shared:
        return f"shared with {step.shared}" if step.shared.startswith("job ") else f"same as {step.shared}"
    return step.state.value


def _short_path(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)

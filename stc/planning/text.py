"""A plan in words, for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.models.layout import AdapterSize, FeatureSize, Layout
from stc.planning.dry_run import StepState
from stc.planning.jobs import PlannedJob, PlannedStep

WIDTH = 118


@dataclass
class _Line:
    """One step, or the links of a chain that stand alike."""

    name: str
    state: str
    stage: str
    identity: str
    parameters: str
    bytes: str
    why: str
    last: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        name = f"{self.name}–{self.last.rpartition('.')[2]}" if self.last else self.name
        return name, self.state, self.stage, self.identity, self.parameters, self.bytes


def format_jobs(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """The first job in full, of the others what they do not share with one before them."""
    for number, job in enumerate(jobs):
        yield f"{job.name}: {job.title}"
        told_of = [row for row in job.rows if row.runs or (number == 0 and row.step.state is not StepState.UNNEEDED)]
        yield from _table(told_of)
        yield from _others([row for row in job.rows if row not in told_of])
        yield ""


def _table(rows: Sequence[PlannedStep]) -> Iterator[str]:
    lines: list[_Line] = []
    for row in rows:
        line = _line(row)
        if lines and _goes_on(lines[-1], line):
            lines[-1].last, lines[-1].identity = line.name, line.identity
        else:
            lines.append(line)
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(*(line.cells for line in lines), strict=True)]
    for line in lines:
        *words, parameters, weight = line.cells
        cells = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
        cells += [parameters.rjust(widths[-2]), weight.rjust(widths[-1])]
        yield "  ".join(["", *cells]).rstrip()
        if line.why:
            yield from textwrap.wrap(line.why, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _line(row: PlannedStep) -> _Line:
    step = row.step
    identity = step.identity[:8]
    if step.after and step.after != step.name:
        identity = f"after {step.after}"
    elif step.node.source is not None:
        identity = _near(step.artifact.path) if step.artifact else getattr(step.node.source, "id", "")
    what, parameters, weight = row.will_be, "", ""
    if isinstance(what, AdapterSize):
        parameters, weight = f"{what.parameters:,} parameters", f"{what.weight_bytes:,} bytes"
    elif isinstance(what, FeatureSize):
        weight = f"about {what.weight_bytes:,} bytes"
    elif isinstance(what, Layout):
        most = "at most " * what.largest
        parameters = f"{most}{what.counts.parameters:,} parameters"
        weight = f"{most or 'about ' * (not what.exists)}{what.weight_bytes:,} bytes"
    return _Line(step.name, _state(row), step.node.stage_name, identity, parameters, weight, step.why)


def _goes_on(before: _Line, line: _Line) -> bool:
    """Whether a line is the next link of the chain of the one before, and there is nothing else to say of it."""
    chain, _, number = (before.last or before.name).rpartition(".")
    following = chain and number.isdigit() and line.name == f"{chain}.{int(number) + 1}"
    return bool(following and before.state == line.state and not line.parameters and not line.why)


def _others(rows: Sequence[PlannedStep]) -> Iterator[str]:
    """Steps by name only, by what has become of them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.step.node.source is None:
            found.setdefault(_state(row), []).append(row.step.name)
    for state, names in found.items():
        yield from textwrap.wrap(
            f"{state}: {', '.join(_short(names))}", WIDTH, initial_indent="  ", subsequent_indent="    "
        )


def _short(names: Sequence[str]) -> list[str]:
    """Names with the links of a chain as one: ``importance.1–8``."""
    chains: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"(.+)\.(\d+)", name)
        chains.setdefault(match[1] if match else name, []).append(match[2] if match else "")
    return [
        name if links == [""] else f"{name}.{links[0]}" + (f"–{links[-1]}" if len(links) > 1 else "")
        for name, links in chains.items()
    ]


def _state(row: PlannedStep) -> str:
    if row.shared:
        return f"shared with {row.shared}" if row.shared.startswith("job ") else f"same as {row.shared}"
    return row.step.state.value


def _near(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)

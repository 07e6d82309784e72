"""The plan as text, for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from stc.models.layout import AdapterSize, FeatureSize, Layout
from stc.planning.dry_run import PlannedStep, StepState
from stc.planning.planned_jobs import PlannedJob

WIDTH = 118


def format_jobs(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """Yield the lines of all jobs: the first in full, the others without what they share with earlier ones."""
    for number, job in enumerate(jobs):
        yield f"{job.name}: {job.title}"
        in_table = [one for one in job.steps if one.runs or (number == 0 and one.state is not StepState.UNNEEDED)]
        yield from _table(in_table)
        yield from _name_lists([one for one in job.steps if one not in in_table])
        yield ""


def _table(steps: Sequence[PlannedStep]) -> Iterator[str]:
    chains: list[list[PlannedStep]] = []
    for step in steps:
        if chains and _continues(step, chains[-1][-1]):
            chains[-1].append(step)
        else:
            chains.append([step])
    rows = [_cells(chain[0], chain[-1]) for chain in chains]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for chain, row in zip(chains, rows, strict=True):
        padded = [
            cell.ljust(width) if column < 4 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(["", *padded]).rstrip()
        if chain[0].why:
            yield from textwrap.wrap(chain[0].why, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _continues(step: PlannedStep, before: PlannedStep) -> bool:
    """Return whether a step is the next link of a chain, and its line would say nothing else than that before."""
    chain, _, number = before.name.rpartition(".")
    is_next = chain and number.isdigit() and step.name == f"{chain}.{int(number) + 1}"
    has_parameters = isinstance(step.forecast, AdapterSize | Layout)
    return bool(is_next and _state(before) == _state(step) and not has_parameters and not step.why)


def _cells(step: PlannedStep, last: PlannedStep) -> tuple[str, ...]:
    """Return the cells of a step, or of the links of a chain up to the last."""
    name = step.name if last is step else f"{step.name}–{last.name.rpartition('.')[2]}"
    identity = last.identity[:8]
    if last.after and last.after != last.name:
        identity = f"after {last.after}"
    elif last.node.source is not None:
        identity = _short_path(last.artifact.path) if last.artifact else getattr(last.node.source, "id", "")
    parameters = size = ""
    forecast = step.forecast
    if isinstance(forecast, AdapterSize):
        parameters, size = f"{forecast.parameters:,} parameters", f"{forecast.weight_bytes:,} bytes"
    elif isinstance(forecast, FeatureSize):
        size = f"about {forecast.weight_bytes:,} bytes"
    elif isinstance(forecast, Layout):
        at_most = "at most " * forecast.largest
        parameters = f"{at_most}{forecast.counts.parameters:,} parameters"
        size = f"{at_most or 'about ' * (not forecast.exists)}{forecast.weight_bytes:,} bytes"
    return name, _state(step), step.node.stage_name, identity, parameters, size


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

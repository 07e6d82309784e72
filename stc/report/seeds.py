"""Several runs that differ in their seed, as one table: mean ± standard deviation of every system."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from stc.metrics.text import METRICS
from stc.report.run_table import SIZES, SYSTEM
from stc.system.tables import NONE, Column, Row, marked, text

_SIZES = ("layers", "params", "packed_elements", "bytes_on_disk")
_VARYING = (*METRICS, "retention", "rtf", "peak_memory_bytes")
FIGURES = (*_SIZES, *(f"{key}{end}" for key in _VARYING for end in ("", "_deviation")))
"""Keys of an aggregated system that are figures; None where a seed has none, or where one seed has no deviation."""


def aggregate(runs: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """The systems of several runs, each once.

    Args:
        runs: the rows of each seed's comparison; every one has the same systems.

    Returns:
        name, ``metric`` (the one retention is measured by) and :data:`FIGURES` of each system: means, and under
        ``…_deviation`` the standard deviation of the sample (n - 1).
    """
    systems = []
    for rows in zip(*runs, strict=True):
        system = {"name": rows[0]["name"], "metric": rows[0]["compared"]["metric"]}
        system |= {key: round(statistics.fmean(row[key] for row in rows)) for key in _SIZES}
        for key in _VARYING:
            values = [row[key] for row in rows]
            known = None not in values
            system[key] = statistics.fmean(values) if known else None
            system[f"{key}_deviation"] = statistics.stdev(values) if known and len(values) > 1 else None
        systems.append(system)
    return systems


def table(systems: Sequence[Row], seeds: Sequence[int]) -> str:
    """Aggregated systems as a table for a terminal, and what the figures mean. Ends in a newline."""
    return _laid_out(systems, seeds, text)


def markdown(systems: Sequence[Row], seeds: Sequence[int]) -> str:
    """The same in Markdown. Ends in a newline."""
    return _laid_out(systems, seeds, marked)


def _laid_out(
    systems: Sequence[Row], seeds: Sequence[int], form: Callable[[Sequence[Column], Sequence[Row]], list[str]]
) -> str:
    note = (
        f"Mean ± standard deviation of the sample over {len(seeds)} seeds ({', '.join(map(str, seeds))}). "
        f"Retention: {METRICS[systems[0]['metric']]} relative",
        "to the best unpruned system of the same seed.",
    )
    return "\n".join([*form((SYSTEM, *SIZES, *VARYING_COLUMNS), systems), "", *note]) + "\n"


def _figure(title: tuple[str, str], key: str, scale: float = 1.0, digits: str = ".1f") -> Column:
    def show(row: Row) -> str:
        mean, deviation = row[key], row[f"{key}_deviation"]
        if mean is None:
            return NONE
        return f"{scale * mean:{digits}} ± " + (NONE if deviation is None else f"{scale * deviation:{digits}}")

    return Column(title, show)


VARYING_COLUMNS = (
    *(_figure(("", METRICS[name]), name) for name in METRICS),
    _figure(("retention", "in %"), "retention", 100),
    _figure(("real-time", "factor"), "rtf", digits=".3f"),
)

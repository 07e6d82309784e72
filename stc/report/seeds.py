"""Several runs that differ in their seed, as one table: mean ± standard deviation of every system."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from stc.metrics.metric import metric_named
from stc.report.comparison import metric_names_in
from stc.report.run_table import SIZES, SYSTEM
from stc.system.tables import NONE, Column, Row, markdown_table, terminal_table

_SIZES = ("layers", "params", "packed_elements", "bytes_on_disk")
_VARYING = ("retention", "rtf", "peak_memory_bytes")


def aggregate_seeds(runs: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """The systems of several runs, each once.

    Args:
        runs: the rows of each seed's comparison; every one has the same systems.

    Returns:
        name, ``metric`` (the one retention is measured by), ``metrics`` and the figures of each system: means, and
        under ``…_deviation`` the standard deviation of the sample (n - 1); None where a seed has no such figure, or
        where one seed has no deviation.
    """
    systems = []
    for rows in zip(*runs, strict=True):
        metrics = metric_names_in(rows)
        system = {"name": rows[0]["name"], "metric": rows[0]["compared"]["metric"], "metrics": metrics}
        system |= {key: round(statistics.fmean(row[key] for row in rows)) for key in _SIZES}
        for key in (*metrics, *_VARYING):
            values = [row.get(key) for row in rows]
            known = None not in values
            system[key] = statistics.fmean(values) if known else None
            system[f"{key}_deviation"] = statistics.stdev(values) if known and len(values) > 1 else None
        systems.append(system)
    return systems


def table(systems: Sequence[Row], seeds: Sequence[int]) -> str:
    """Aggregated systems as a table for a terminal, and what the figures mean. Ends in a newline."""
    return _laid_out(systems, seeds, terminal_table)


def markdown(systems: Sequence[Row], seeds: Sequence[int]) -> str:
    """The same in Markdown. Ends in a newline."""
    return _laid_out(systems, seeds, markdown_table)


def _laid_out(
    systems: Sequence[Row], seeds: Sequence[int], form: Callable[[Sequence[Column], Sequence[Row]], list[str]]
) -> str:
    note = (
        f"Mean ± standard deviation of the sample over {len(seeds)} seeds ({', '.join(map(str, seeds))}). "
        f"Retention: {metric_named(systems[0]['metric']).better} relative",
        "to the best unpruned system of the same seed.",
    )
    return "\n".join([*form((SYSTEM, *SIZES, *seed_columns(systems)), systems), "", *note]) + "\n"


def _figure(title: tuple[str, str], key: str, scale: float = 1.0, digits: str = ".1f") -> Column:
    def show(row: Row) -> str:
        mean, deviation = row.get(key), row.get(f"{key}_deviation")
        if mean is None:
            return NONE
        return f"{scale * mean:{digits}} ± " + (NONE if deviation is None else f"{scale * deviation:{digits}}")

    return Column(title, show)


def seed_columns(systems: Sequence[Row]) -> list[Column]:
    """Return the columns of what differs from seed to seed."""
    return [
        *(_figure(("", metric_named(name).heading), name) for name in metric_names_in(systems)),
        _figure(("retention", "in %"), "retention", 100),
        _figure(("real-time", "factor"), "rtf", digits=".3f"),
    ]

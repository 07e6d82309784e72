"""Several runs that differ in their seed, as one table: mean ± standard deviation of every system."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from stc.metrics.metric import metric_named
from stc.report.comparison import metric_names_in
from stc.report.run_table import SIZES, SYSTEM
from stc.system.tables import NONE, Column, Row, TableFormat, terminal_table

_SIZES = ("layers", "params", "packed_elements", "bytes_on_disk")
_VARYING = ("retention", "rtf", "peak_memory_bytes")


def aggregate_seeds(runs: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """Return each system of several runs once, with its mean figures.

    Args:
        runs: the rows of each seed's comparison; all have the same systems.

    Returns:
        name, ``metric`` (the one of retention), ``metrics`` and the figures of each system: means, and under
        ``…_deviation`` the standard deviation of the sample (n - 1). Both are None if a seed has no such figure, and
        the deviation also if there is only one seed.
    """
    systems = []
    for rows in zip(*runs, strict=True):
        metrics = metric_names_in(rows)
        system = {"name": rows[0]["name"], "metric": rows[0]["compared"]["metric"], "metrics": metrics}
        system |= {key: round(statistics.fmean(row[key] for row in rows)) for key in _SIZES}
        for key in (*metrics, *_VARYING):
            values = [row.get(key) for row in rows]
            complete = None not in values
            system[key] = statistics.fmean(values) if complete else None
            system[f"{key}_deviation"] = statistics.stdev(values) if complete and len(values) > 1 else None
        systems.append(system)
    return systems


def format_seeds_table(systems: Sequence[Row], seeds: Sequence[int], table_format: TableFormat = terminal_table) -> str:
    """Return the table of aggregated systems and a note on its figures. It ends in a newline."""
    note = (
        f"{deviation_note(seeds)} Retention: {metric_named(systems[0]['metric']).better} relative",
        "to the best unpruned system of the same seed.",
    )
    return "\n".join([*table_format((SYSTEM, *SIZES, *seed_columns(systems)), systems), "", *note]) + "\n"


def deviation_note(seeds: Sequence[int]) -> str:
    numbers = ", ".join(map(str, seeds))
    return f"Mean ± standard deviation of the sample over {len(seeds)} seeds ({numbers})."


def seed_columns(systems: Sequence[Row]) -> list[Column]:
    """Return the columns of the figures that differ from seed to seed."""
    return [
        *(_mean_column(("", metric_named(name).heading), name) for name in metric_names_in(systems)),
        _mean_column(("retention", "in %"), "retention", 100),
        _mean_column(("real-time", "factor"), "rtf", digits=".3f"),
    ]


def _mean_column(title: tuple[str, str], key: str, scale: float = 1.0, digits: str = ".1f") -> Column:
    def show(row: Row) -> str:
        mean, deviation = row.get(key), row.get(f"{key}_deviation")
        if mean is None:
            return NONE
        return f"{scale * mean:{digits}} ± " + (NONE if deviation is None else f"{scale * deviation:{digits}}")

    return Column(title, show)

"""The figures of a report with all their digits, as CSV, for further computation."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stc.report.comparison import metric_names_in
from stc.report.jobs import ReportedJob
from stc.report.pivot import Pivot
from stc.report.sweep import Group, TableLine
from stc.system.quantities import format_setting
from stc.system.tables import Row

_SIZES = {
    "layers": "decoder_layers",
    "params": "parameters",
    "packed_elements": "packed_elements",
    "bytes_on_disk": "size_on_disk_bytes",
}
_MEASURED = {
    "retention": "retention_ratio",
    "rtf": "real_time_factor_s_per_s",
    "peak_memory_bytes": "peak_memory_bytes",
}
_UNITS = ("_points", "_ratio", "_s_per_s", "_bytes")

_FIRST = (
    "table",
    "row",
    "column",
    "marked_best",
    "language",
    "test_set",
    "test_sentences",
    "seeds",
    "system",
    "control",
)
_LAST = (
    "against",
    "difference_points",
    "difference_low_points",
    "difference_high_points",
    "p_randomization",
    "p_bootstrap",
    "retention_metric",
    "retention_reference",
    "device",
    "jobs",
    "missing",
)


def lines_csv(jobs: Sequence[ReportedJob], groups: Sequence[Group]) -> str:
    """Return a line for each system, and one for each job without a result, with the reason under ``missing``."""
    rows = [_line(group, line) for group in groups for line in group.lines]
    for job in jobs:
        if job.fault:
            language = {"language": format_setting(job.settings.get("lang", ""))}
            rows.append({**language, **_settings(job.settings), "jobs": str(job.folder), "missing": job.fault})
    return _write(rows, jobs[:1], [line for group in groups for line in group.lines])


def cells_csv(pivots: Sequence[Pivot]) -> str:
    """Return a line for each cell of each pivot, with its difference to the first row."""
    rows = []
    for pivot in pivots:
        for (row, column), line in pivot.cells.items():
            cell = {
                "table": pivot.title,
                "row": row,
                "column": column,
                "marked_best": int((row, column) in pivot.best),
                **_line(pivot.group, line),
            }
            if found := pivot.differences.get((row, column)):
                low, high = found.interval or (None, None)
                cell |= {
                    "against": pivot.rows[0],
                    "difference_points": found.value,
                    "difference_low_points": low,
                    "difference_high_points": high,
                    "p_randomization": found.p_randomization,
                    "p_bootstrap": found.p_bootstrap,
                }
            rows.append(cell)
    jobs = [job for pivot in pivots for job in pivot.group.jobs]
    return _write(rows, jobs, [line for pivot in pivots for line in pivot.cells.values()])


def _line(group: Group, line: TableLine) -> dict[str, Any]:
    row = line.row
    found: dict[str, Any] = {
        "language": group.lang,
        "test_set": group.test,
        "test_sentences": group.sentences,
        "seeds": " ".join(map(str, group.seeds)),
        "system": line.name,
        "control": int(line.control),
        **_settings({**group.fixed, **line.settings}),
        **{name: row[key] for key, name in _SIZES.items()},
        "retention_metric": group.metric,
        "retention_reference": group.reference_name,
        "device": " ".join(dict.fromkeys(str(system.row["device"]) for system in line.systems)),
        "jobs": " ".join(str(job.folder) for job in line.jobs),
    }
    intervals = {"retention": row.get("retention_ci"), group.metric: row.get("score_ci")}
    for key, name in _measured([row]).items():
        low, high = intervals.get(key) or (None, None)
        figures = (row.get(key), low, high, row.get(f"{key}_deviation"))
        found |= dict(zip(_columns(name), figures, strict=True))
    return found


def _measured(systems: Iterable[Row]) -> dict[str, str]:
    return {**{name: f"{name}_points" for name in metric_names_in(systems)}, **_MEASURED}


def _columns(name: str) -> tuple[str, str, str, str]:
    """Return the columns of a figure: itself, the ends of its interval, and its deviation, with the unit last."""
    unit = next(unit for unit in _UNITS if name.endswith(unit))
    stem = name.removesuffix(unit)
    return name, f"{stem}_low{unit}", f"{stem}_high{unit}", f"{stem}_deviation{unit}"


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: format_setting(value) for key, value in settings.items() if key != "lang"}


def _write(rows: Sequence[Mapping[str, Any]], jobs: Sequence[ReportedJob], lines: Sequence[TableLine]) -> str:
    """Return the rows as CSV, with columns for the settings of the jobs, and without columns that are always empty."""
    columns = [
        *_FIRST,
        *dict.fromkeys(key for job in jobs for key in job.settings if key != "lang"),
        *_SIZES.values(),
        *(column for name in _measured(line.row for line in lines).values() for column in _columns(name)),
        *_LAST,
    ]
    used = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
    file = io.StringIO()
    writer = csv.DictWriter(file, used, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()

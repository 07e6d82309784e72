"""The figures of a report with all their digits, as CSV, for further computation."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from stc.metrics.significance import Difference
from stc.report.comparison import metric_names_in
from stc.report.pivot import Pivot
from stc.report.sweep_jobs import ReportedJob
from stc.report.sweep_table import Group, TableLine
from stc.system.number_formats import format_setting

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


def lines_csv(jobs: Sequence[ReportedJob], groups: Sequence[Group]) -> str:
    """Return a line for each system, and one for each job without a result, with the reason under ``missing``."""
    rows = [_line(group, line) for group in groups for line in group.lines]
    for job in jobs:
        if job.fault:
            language = {"language": format_setting(job.settings.get("lang", ""))}
            rows.append({**language, **_settings(job.settings), "jobs": str(job.folder), "missing": job.fault})
    return _write(rows)


def cells_csv(pivots: Sequence[Pivot]) -> str:
    """Return a line for each cell of each pivot, with its difference to the first row."""
    return _write(
        [
            {
                "table": pivot.title,
                "row": row,
                "column": column,
                "marked_best": int((row, column) in pivot.best),
                **_line(pivot.group, line, pivot.rows[0], pivot.differences.get((row, column))),
            }
            for pivot in pivots
            for (row, column), line in pivot.cells.items()
        ]
    )


def _line(group: Group, line: TableLine, against: str = "", found: Difference | None = None) -> dict[str, Any]:
    """Return the columns of a line in their order. ``found`` is its difference from the cell ``against``."""
    row = line.row
    intervals = {"retention": row.get("retention_ci"), group.metric: row.get("score_ci")}
    figures: dict[str, Any] = {name: row[key] for key, name in _SIZES.items()}
    for key, name in {**{name: f"{name}_points" for name in metric_names_in([row])}, **_MEASURED}.items():
        unit = next(unit for unit in _UNITS if name.endswith(unit))
        stem = name.removesuffix(unit)
        low, high = intervals.get(key) or (None, None)
        figures |= {name: row.get(key), f"{stem}_low{unit}": low, f"{stem}_high{unit}": high}
        figures[f"{stem}_deviation{unit}"] = row.get(f"{key}_deviation")
    low, high = (found.interval if found else None) or (None, None)
    return {
        "language": group.lang,
        "test_set": group.test,
        "test_sentences": group.sentences,
        "seeds": " ".join(map(str, group.seeds)),
        "system": line.name,
        "control": int(line.is_control),
        **_settings({**dict.fromkeys(group.jobs[0].settings, ""), **group.fixed, **line.settings}),
        **figures,
        **{f"{fault}_texts": count for fault, count in (row.get("output_faults") or {}).items()},
        "against": against if found else None,
        "difference_points": found and found.value,
        "difference_low_points": low,
        "difference_high_points": high,
        "p_randomization": found and found.p_randomization,
        "p_bootstrap": found and found.p_bootstrap,
        "retention_metric": group.metric,
        "retention_reference": group.reference_name,
        "device": " ".join(dict.fromkeys(str(system.row["device"]) for system in line.systems)),
        "jobs": " ".join(str(job.folder) for job in line.jobs),
    }


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: format_setting(value) for key, value in settings.items() if key != "lang"}


def _write(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, without columns that are always empty."""
    columns = dict.fromkeys(key for row in rows for key in row)
    used = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
    file = io.StringIO()
    writer = csv.DictWriter(file, used, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()

"""The figures of a report with all their digits, as CSV: for whoever goes on computing with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stc.report.comparison import metric_names_in
from stc.report.jobs import ReportedJob
from stc.report.pivot import Pivot
from stc.report.sweep import Group, TableLine, format_setting
from stc.system.tables import Row

_PLAIN = {
    "layers": "decoder_layers",
    "params": "parameters",
    "packed_elements": "packed_elements",
    "bytes_on_disk": "size_on_disk_bytes",
}
_VARYING = {
    "retention": "retention_ratio",
    "rtf": "real_time_factor_s_per_s",
    "peak_memory_bytes": "peak_memory_bytes",
}

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
    """A line a system, and one a job without a result, with the reason under ``missing``."""
    rows = [_line(group, line) for group in groups for line in group.lines]
    for job in jobs:
        if job.fault:
            language = {"language": format_setting(job.settings.get("lang", ""))}
            rows.append({**language, **_set(job.settings), "jobs": str(job.folder), "missing": job.fault})
    settings = [key for key in jobs[0].settings if key != "lang"] if jobs else []
    return _written(rows, settings, [line for group in groups for line in group.lines])


def cells_csv(pivots: Sequence[Pivot]) -> str:
    """A line a cell of each pivot, with its difference to the first row."""
    rows = []
    for pivot in pivots:
        for (row, column), line in pivot.cells.items():
            found = pivot.differences.get((row, column))
            cell = {
                "table": pivot.title,
                "row": row,
                "column": column,
                "marked_best": int((row, column) in pivot.best),
                **_line(pivot.group, line),
            }
            if found:
                cell |= {
                    "against": pivot.rows[0],
                    "difference_points": found.value,
                    "difference_low_points": found.interval and found.interval[0],
                    "difference_high_points": found.interval and found.interval[1],
                    "p_randomization": found.p_randomization,
                    "p_bootstrap": found.p_bootstrap,
                }
            rows.append(cell)
    settings = [key for pivot in pivots for job in pivot.group.jobs for key in job.settings if key != "lang"]
    return _written(rows, list(dict.fromkeys(settings)), [line for pivot in pivots for line in pivot.cells.values()])


def _line(group: Group, line: TableLine) -> dict[str, Any]:
    row = line.row
    found: dict[str, Any] = {
        "language": group.lang,
        "test_set": group.test,
        "test_sentences": group.sentences,
        "seeds": " ".join(map(str, group.seeds)),
        "system": line.name,
        "control": int(line.control),
        **_set({**group.fixed, **line.settings}),
        **{name: row[key] for key, name in _PLAIN.items()},
        "retention_metric": group.metric,
        "retention_reference": group.reference_name,
        "device": " ".join(dict.fromkeys(str(system.row["device"]) for system in line.systems)),
        "jobs": " ".join(str(job.folder) for job in line.jobs),
    }
    intervals = {"retention": row.get("retention_ci"), group.metric: row.get("score_ci")}
    for key, name in _varying([row]).items():
        low, high = intervals.get(key) or (None, None)
        found |= dict(zip(_ends(name), (row.get(key), low, high, row.get(f"{key}_deviation")), strict=True))
    return found


def _varying(systems: Iterable[Row]) -> dict[str, str]:
    return {**{name: f"{name}_points" for name in metric_names_in(systems)}, **_VARYING}


def _ends(name: str) -> tuple[str, str, str, str]:
    """The columns of a figure: itself, the ends of its interval, and its deviation, the unit last."""
    first, unit = next(
        (name.removesuffix(end), end) for end in ("_points", "_ratio", "_s_per_s", "_bytes") if name.endswith(end)
    )
    return name, f"{first}_low{unit}", f"{first}_high{unit}", f"{first}_deviation{unit}"


def _set(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: format_setting(value) for key, value in settings.items() if key != "lang"}


def _written(rows: Sequence[Mapping[str, Any]], settings: Sequence[str], lines: Sequence[TableLine]) -> str:
    """Columns that are empty in every row are left out."""
    columns = [
        *_FIRST,
        *settings,
        *_PLAIN.values(),
        *(end for name in _varying(line.row for line in lines).values() for end in _ends(name)),
        *_LAST,
    ]
    used = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
    file = io.StringIO()
    writer = csv.DictWriter(file, used, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()

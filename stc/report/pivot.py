"""One figure of a sweep by two of its settings: ``--pivot prune finetune+distill retention``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.config.job_names import short_names
from stc.errors import InputError, suggestion
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.significance import Difference, difference
from stc.report.comparison import metric_names_in
from stc.report.formats import TitledTable
from stc.report.run_table import deviation_note, format_difference, format_interval, format_p_value, retention_note
from stc.report.sweep_table import Group, TableLine, group_title, resolve_key, settings_in_words
from stc.system.number_formats import format_bytes, format_count, format_percent, format_setting
from stc.system.tables import NONE, Column, Row

ALPHA = 0.05
"""A difference with a p below this counts as one."""

CellPosition = tuple[str, str]
"""Label of the row, label of the column."""

Cells = Mapping[CellPosition, TableLine]


@dataclass(frozen=True)
class CellValue:
    """A figure that a cell can show: its title, how it is written, and whether lower is better."""

    title: str
    show: Callable[[Any], str]
    lower_is_better: bool = False


_VALUES: Mapping[str, CellValue] = {
    "retention": CellValue("retention in %", format_percent),
    "params": CellValue("parameters", format_count, lower_is_better=True),
    "packed_elements": CellValue("packed elements", format_count, lower_is_better=True),
    "bytes_on_disk": CellValue("bytes on disk", format_bytes, lower_is_better=True),
    "rtf": CellValue("real-time factor", lambda factor: f"{factor:.3g}", lower_is_better=True),
    "peak_memory_bytes": CellValue("peak memory", format_bytes, lower_is_better=True),
}
"""The figures of a row that are no metrics, by key."""


def cell_value(key: str) -> CellValue:
    """Return the figure that rows have under this key; unless it is another figure it is a metric."""
    if key in _VALUES:
        return _VALUES[key]
    metric = metric_named(key)
    return CellValue(metric.heading, lambda score: f"{score:.1f}", metric.lower_is_better)


@dataclass(frozen=True)
class Pivot:
    """A table of one figure.

    Attributes:
        title: the group, and the settings that tell this table from others of the sweep.
        system: the system whose figure it is.
        value: the key of the figure.
        cells: a job that failed has none.
        best: the best of each column, and those that no test tells from it.
        differences: to the first row of the same column; only where systems of one seed are compared by a score.
    """

    group: Group
    title: str
    system: str
    value: str
    row_title: str
    column_title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Cells
    best: frozenset[CellPosition]
    differences: Mapping[CellPosition, Difference]

    def tables(self) -> list[TitledTable]:
        """Return the table of the figure, and that of the differences if there are any."""
        labels = Column(("", self.row_title), lambda row: str(row["name"]), align_left=True)
        figure = TitledTable(
            f"{self.title}: {self.system}, {cell_value(self.value).title}",
            [labels, *(self._column(label, self._show_cell, bold=True) for label in self.columns)],
            [{"name": label} for label in self.rows],
            [*self.group.fairness_notes, *(retention_notes(self.group) if self.value == "retention" else [])],
            self._bold_note(),
        )
        if not self.differences:
            return [figure]
        differences = TitledTable(
            f"{self.title}: {metric_named(self.group.metric).title} less that of {self.rows[0]}",
            [labels, *(self._column(label, self._show_difference) for label in self.columns)],
            [{"name": label} for label in self.rows[1:]],
            [self._difference_note()],
        )
        return [figure, differences]

    def _column(self, label: str, show: Callable[[CellPosition], str], bold: bool = False) -> Column:
        first, _, second = label.rpartition(" + ")
        return Column(
            (f"{first} +" if first else "", second),
            lambda row: show((row["name"], label)),
            is_bold=lambda row: bold and (row["name"], label) in self.best,
        )

    def _show_cell(self, position: CellPosition) -> str:
        line = self.cells.get(position)
        return NONE if line is None else _format_figure(line.row, self.value)

    def _show_difference(self, position: CellPosition) -> str:
        found = self.differences.get(position)
        if found is None:
            return NONE
        p = "" if found.p_randomization is None else f" (p {format_p_value(found.p_randomization)})"
        return f"{format_difference(found.value)}{p}"

    def _difference_note(self) -> str:
        note = f"Difference to {self.rows[0]} in the same column"
        if not enough_sentences(self.group.sentences):
            return f"{note}. {sample_size_note(self.group.sentences)}"
        return f"{note}, and p by approximate randomization; not corrected for the number of comparisons."

    def _bold_note(self) -> str:
        if not _is_testable(self.group, self.value) or not enough_sentences(self.group.sentences):
            return "Bold: the best of a column."
        return f"Bold: the best of a column, and what approximate randomization does not tell from it (p ≥ {ALPHA:g})."


def _format_figure(row: Row, key: str) -> str:
    if row.get(key) is None:
        return NONE
    show = cell_value(key).show
    figure, deviation = show(row[key]), row.get(f"{key}_deviation")
    if deviation is not None:
        return f"{figure} ± {show(deviation)}"
    if key == "retention" and row["is_reference"]:
        return f"{figure} (reference)"
    if key == "retention" and row["retention_ci"]:
        return f"{figure} ({format_interval(row['retention_ci'])})"
    return figure


def retention_notes(group: Group) -> list[str]:
    """Return sentences that say what retention is relative to in a group, and what its interval or deviation is."""
    best = "the best unpruned system" + (f" of these {len(group.jobs)} jobs" if len(group.jobs) > 1 else "")
    if len(group.seeds) > 1:
        quality = metric_named(group.metric).better
        note = f"Retention: {quality} relative to {group.reference_name}, {best}, with the same seed."
        return [note, deviation_note(group.seeds)]
    note = retention_note(group.metric, group.reference_name, best, group.sentences, group.resampling)
    return [note, *filter(None, [sample_size_note(group.sentences)])]


def make_pivots(groups: Sequence[Group], rows: str, columns: str, value: str = "retention") -> list[Pivot]:
    """Return a table for each group and each combination of the settings that are neither in rows nor in columns.

    Args:
        rows: keys, or ends of keys that no other key has, with + between several.
        columns: the same.
        value: a metric, or another figure of a row.

    Raises:
        InputError: a key or value is unknown, or several results fall into one cell.
    """
    allowed = [*_VALUES, *metric_names_in(line.row for group in groups for line in group.lines)]
    if value not in allowed:
        raise InputError(f"--pivot … {value}: a cell shows one of {', '.join(allowed)}{suggestion(value, allowed)}")
    known = list(dict.fromkeys(key for group in groups for job in group.jobs for key in job.settings))
    row_keys, column_keys = ([_axis_key(name, known) for name in axis.split("+")] for axis in (rows, columns))
    if shared := set(row_keys) & set(column_keys):
        raise InputError(f"--pivot {rows} {columns}: {', '.join(shared)} cannot be both in rows and in columns")
    pivots = []
    for group in groups:
        other_keys = [key for key in group.keys if key not in (*row_keys, *column_keys)]
        tables: dict[str, list[tuple[CellPosition, TableLine]]] = {}
        for line in _lines_of_one_system(group):
            for job in line.jobs:
                others = settings_in_words({key: job.settings[key] for key in other_keys}, other_keys)
                title = ", ".join(filter(None, [group_title(group), others]))
                position = (_label(job.settings, row_keys), _label(job.settings, column_keys))
                tables.setdefault(title, []).append((position, line))
        pivots += [_pivot(group, title, (row_keys, column_keys), value, placed) for title, placed in tables.items()]
    return pivots


def _axis_key(name: str, known: Sequence[str]) -> str:
    key = resolve_key(name, known)
    if key == "lang":
        raise InputError("--pivot: each language has a table of its own, so lang is neither in rows nor in columns")
    return key


def _lines_of_one_system(group: Group) -> list[TableLine]:
    """Return the lines of the system that the cells are about: the last of each job, or the one chosen by --systems."""
    lines = [line for line in group.lines if not line.is_control] or list(group.lines)
    for job in group.jobs:
        names = [line.name for line in lines if job in line.jobs]
        if len(names) > 1:
            raise InputError(f"--pivot shows one system: --systems is one of {', '.join(names)}")
    return lines


def _label(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return " + ".join(format_setting(settings[key]) for key in keys)


def _pivot(
    group: Group,
    title: str,
    keys: tuple[Sequence[str], Sequence[str]],
    value: str,
    placed: Sequence[tuple[CellPosition, TableLine]],
) -> Pivot:
    cells: dict[CellPosition, TableLine] = {}
    for position, line in placed:
        other = cells.setdefault(position, line)
        if other.identity != line.identity:
            raise InputError(
                f"two results for {' and '.join(position)} ({title}): {other.jobs[0].folder} and "
                f"{line.jobs[0].folder} differ in no setting, but were computed from different data, from forced "
                "results, or by different versions; report on them one at a time"
            )
    rows, columns = (list(dict.fromkeys(position[axis] for position in cells)) for axis in (0, 1))
    row_title, column_title = (" + ".join(short_names(axis).values()) for axis in keys)
    return Pivot(
        group=group,
        title=title,
        system=", ".join(dict.fromkeys(line.name for line in cells.values())),
        value=value,
        row_title=row_title,
        column_title=column_title,
        rows=rows,
        columns=columns,
        cells=cells,
        best=frozenset(position for column in columns for position in _best(group, value, cells, column)),
        differences=_differences(group, value, cells, rows[0]),
    )


def _best(group: Group, value: str, cells: Cells, column: str) -> list[CellPosition]:
    """Return the cells of a column to mark as best; none if there is nothing to choose from."""
    found = {position: line.row.get(value) for position, line in cells.items() if position[1] == column}
    figures = {position: figure for position, figure in found.items() if figure is not None}
    if len(figures) < 2:
        return []
    kind = cell_value(value)
    best = (min if kind.lower_is_better else max)(figures, key=lambda position: figures[position])

    def is_as_good(position: CellPosition) -> bool:
        if kind.show(figures[position]) == kind.show(figures[best]):
            return True
        test = _test(group, value, cells[position], cells[best])
        return test is not None and test.p_randomization is not None and test.p_randomization >= ALPHA

    return [position for position in figures if is_as_good(position)]


def _differences(group: Group, value: str, cells: Cells, first: str) -> dict[CellPosition, Difference]:
    found = {
        position: _test(group, value, line, cells[first, position[1]])
        for position, line in cells.items()
        if position[0] != first and (first, position[1]) in cells
    }
    return {position: one for position, one in found.items() if one is not None}


def _is_testable(group: Group, value: str) -> bool:
    return value in ("retention", group.metric) and len(group.seeds) <= 1


def _test(group: Group, value: str, line: TableLine, other: TableLine) -> Difference | None:
    """Return None if the figure is no score or is averaged over seeds, or if statistics are missing from the store."""
    one, two = line.systems[0].quality, other.systems[0].quality
    if not _is_testable(group, value) or one is None or two is None:
        return None
    ours, theirs = (record.metrics[group.metric].statistics for record in (one, two))
    return difference(group.metric, ours, theirs, **group.resampling)

"""One figure of a sweep by two of its settings: ``--pivot prune finetune+distill retention``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.config.override_names import short_names
from stc.errors import InputError, suggestion
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.significance import Difference, difference
from stc.report.comparison import metric_names_in
from stc.report.formats import TitledTable
from stc.report.run_table import format_difference, format_interval, format_p_value
from stc.report.sweep import Group, TableLine, format_setting, resolve_key
from stc.system.quantities import format_bytes, format_count, format_percent
from stc.system.tables import NONE, Column, Row

ALPHA = 0.05
"""Below this p a difference is taken for one."""


@dataclass(frozen=True)
class CellValue:
    """A figure that a cell can show: its name in print, how it is written, and whether less of it is better."""

    title: str
    show: Callable[[Any], str]
    less: bool = False


_VALUES: Mapping[str, CellValue] = {
    "retention": CellValue("retention in %", format_percent),
    "params": CellValue("parameters", format_count, less=True),
    "packed_elements": CellValue("packed elements", format_count, less=True),
    "bytes_on_disk": CellValue("bytes on disk", format_bytes, less=True),
    "rtf": CellValue("real-time factor", lambda factor: f"{factor:.3g}", less=True),
    "peak_memory_bytes": CellValue("peak memory", format_bytes, less=True),
}
"""What a row has a figure of beside the metrics, by the key that it has it under."""


def cell_value(key: str) -> CellValue:
    """Return what a row has under this key: a metric, where it is nothing else."""
    if key in _VALUES:
        return _VALUES[key]
    scored = metric_named(key)
    return CellValue(scored.heading, lambda score: f"{score:.1f}", less=scored.lower_is_better)


CellPosition = tuple[str, str]
"""Label of the row, label of the column."""


@dataclass(frozen=True)
class Pivot:
    """A table of one figure.

    Attributes:
        title: the group, and what all cells have in common that other tables of the sweep have not.
        system: whose figure it is.
        cells: those there are; a job that failed leaves its place empty.
        best: of each column the best, and those that no test tells from it.
        differences: to the first row of the same column, where systems of one seed are compared by a score.
    """

    group: Group
    title: str
    system: str
    value: str
    row_title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[CellPosition, TableLine]
    best: frozenset[CellPosition]
    differences: Mapping[CellPosition, Difference]

    def blocks(self) -> list[TitledTable]:
        """The table of the figure, and that of the differences where there is one."""
        value = cell_value(self.value)
        found = [
            TitledTable(
                f"{self.title}: {self.system}, {value.title}",
                [self._labels(), *(self._column(label, self._cell, bold=True) for label in self.columns)],
                [{"name": label} for label in self.rows],
                retention_notes(self.group) if self.value == "retention" else [],
                self._bold(),
            )
        ]
        if self.differences:
            found.append(
                TitledTable(
                    f"{self.title}: {metric_named(self.group.metric).title} less that of {self.rows[0]}",
                    [self._labels(), *(self._column(label, self._difference) for label in self.columns)],
                    [{"name": label} for label in self.rows[1:]],
                    [self._differences_are()],
                )
            )
        return found

    def _labels(self) -> Column:
        return Column(("", self.row_title), lambda row: str(row["name"]), left=True)

    def _column(self, label: str, show: Callable[[CellPosition], str], bold: bool = False) -> Column:
        first, _, second = label.rpartition(" + ")
        return Column(
            (f"{first} +" if first else "", second),
            lambda row: show((row["name"], label)),
            strong=lambda row: bold and (row["name"], label) in self.best,
        )

    def _cell(self, place: CellPosition) -> str:
        line = self.cells.get(place)
        return NONE if line is None else _written(line.row, self.value)

    def _difference(self, place: CellPosition) -> str:
        found = self.differences.get(place)
        if found is None:
            return NONE
        p = "" if found.p_randomization is None else f" (p {format_p_value(found.p_randomization)})"
        return f"{format_difference(found.value)}{p}"

    def _differences_are(self) -> str:
        said = f"Difference to {self.rows[0]} in the same column"
        if not enough_sentences(self.group.sentences):
            return f"{said}. {sample_size_note(self.group.sentences)}"
        return f"{said}, and p by approximate randomization; not corrected for the number of comparisons."

    def _bold(self) -> str:
        if not _testable(self.group, self.value) or not enough_sentences(self.group.sentences):
            return "Bold: the best of a column."
        return f"Bold: the best of a column, and what approximate randomization does not tell from it (p ≥ {ALPHA:g})."


def retention_notes(group: Group) -> list[str]:
    """What retention refers to in a group, and what its interval or deviation is."""
    best = "the best unpruned system" + (f" of these {len(group.jobs)} jobs" if len(group.jobs) > 1 else "")
    said = f"Retention: {metric_named(group.metric).better} relative to {group.reference_name}, {best}"
    if len(group.seeds) > 1:
        seeds = ", ".join(map(str, group.seeds))
        return [
            f"{said}, with the same seed.",
            f"Mean ± standard deviation of the sample over {len(group.seeds)} seeds ({seeds}).",
        ]
    if not enough_sentences(group.sentences):
        return [f"{said}.", sample_size_note(group.sentences)]
    return [
        f"{said}; {100 * group.resampling['confidence']:g} % interval of {group.resampling['resamples']:,} paired "
        f"bootstrap resamples of the {group.sentences:,} sentences.",
        *filter(None, [sample_size_note(group.sentences)]),
    ]


def pivots(groups: Sequence[Group], rows: str, columns: str, value: str = "retention") -> list[Pivot]:
    """A table of each group, and of each combination of the settings that are neither in rows nor in columns.

    Args:
        rows: keys or unmistakable ends of them, with + between several.
        columns: the same.
        value: a metric, or what else a row has a figure of.

    Raises:
        InputError: a key or value is unknown, or several results fall into one cell.
    """
    allowed = [*_VALUES, *metric_names_in(line.row for group in groups for line in group.lines)]
    if value not in allowed:
        raise InputError(f"--pivot … {value}: a cell shows one of {', '.join(allowed)}{suggestion(value, allowed)}")
    known = list(dict.fromkeys(key for group in groups for job in group.jobs for key in job.settings))
    axes = [[_axis(name, known) for name in axis.split("+")] for axis in (rows, columns)]
    if shared := set(axes[0]) & set(axes[1]):
        raise InputError(f"--pivot {rows} {columns}: {', '.join(shared)} cannot be both in rows and in columns")
    found = []
    for group in groups:
        apart = [key for key in group.keys if key not in (*axes[0], *axes[1])]
        tables: dict[tuple[str, ...], list[tuple[CellPosition, TableLine]]] = {}
        for line in _lines(group):
            for job in line.jobs:
                place = (_label(job.settings, axes[0]), _label(job.settings, axes[1]))
                tables.setdefault(tuple(format_setting(job.settings[key]) for key in apart), []).append((place, line))
        for values, placed in tables.items():
            names = short_names(apart)
            title = ", ".join(
                [group_title(group), *(f"{names[key]}={one}" for key, one in zip(apart, values, strict=True))]
            )
            found.append(_pivot(group, title, axes[0], value, placed))
    return found


def group_title(group: Group) -> str:
    """A group in words: its language, and the settings that tell it from other groups."""
    names = short_names(list(group.fixed))
    return ", ".join([group.language, *(f"{names[key]}={format_setting(one)}" for key, one in group.fixed.items())])


def _axis(name: str, known: Sequence[str]) -> str:
    key = resolve_key(name, known)
    if key == "lang":
        raise InputError("--pivot: each language has a table of its own, so lang is neither in rows nor in columns")
    return key


def _lines(group: Group) -> list[TableLine]:
    """The lines of the one system that the cells are about: the last of each job, or the one that was asked for."""
    lines = [line for line in group.lines if not line.control] or list(group.lines)
    positions = {tuple(line.name for line in lines if job in line.jobs) for job in group.jobs}
    if several := next((names for names in positions if len(names) > 1), None):
        raise InputError(f"--pivot shows one system: --systems is one of {', '.join(several)}")
    return lines


def _label(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return " + ".join(format_setting(settings[key]) for key in keys)


def _pivot(
    group: Group, title: str, rows: Sequence[str], value: str, placed: Sequence[tuple[CellPosition, TableLine]]
) -> Pivot:
    cells: dict[CellPosition, TableLine] = {}
    for place, line in placed:
        other = cells.setdefault(place, line)
        if other.identity != line.identity:
            raise InputError(
                f"two results for {' and '.join(place)} ({title}): {other.jobs[0].folder} and {line.jobs[0].folder} "
                "differ in no setting, but were computed from different data, from forced results, or by different "
                "versions; report on them one at a time"
            )
    row_labels, column_labels = (list(dict.fromkeys(place[axis] for place in cells)) for axis in (0, 1))
    names = short_names(rows)
    return Pivot(
        group=group,
        title=title,
        system=", ".join(dict.fromkeys(line.name for line in cells.values())),
        value=value,
        row_title=" + ".join(names[key] for key in rows),
        rows=row_labels,
        columns=column_labels,
        cells=cells,
        best=frozenset(place for label in column_labels for place in _best(group, value, cells, label)),
        differences=_differences(group, value, cells, row_labels[0]),
    )


def _best(group: Group, value: str, cells: Mapping[CellPosition, TableLine], column: str) -> list[CellPosition]:
    """The places of a column to be marked; none where there is nothing to choose from."""
    found = {place: line.row.get(value) for place, line in cells.items() if place[1] == column}
    figures = {place: figure for place, figure in found.items() if figure is not None}
    if len(figures) < 2:
        return []
    kind = cell_value(value)
    best = (min if kind.less else max)(figures, key=lambda place: figures[place])
    written = {place: kind.show(figure) for place, figure in figures.items()}
    return [place for place in figures if written[place] == written[best] or _alike(group, value, cells, place, best)]


def _alike(
    group: Group, value: str, cells: Mapping[CellPosition, TableLine], one: CellPosition, other: CellPosition
) -> bool:
    found = _tested(group, value, cells[one], cells[other])
    return found is not None and found.p_randomization is not None and found.p_randomization >= ALPHA


def _differences(
    group: Group, value: str, cells: Mapping[CellPosition, TableLine], first: str
) -> dict[CellPosition, Difference]:
    found = {
        place: _tested(group, value, line, cells[first, place[1]])
        for place, line in cells.items()
        if place[0] != first and (first, place[1]) in cells
    }
    return {place: one for place, one in found.items() if one is not None}


def _testable(group: Group, value: str) -> bool:
    return value in ("retention", group.metric) and len(group.seeds) <= 1


def _tested(group: Group, value: str, line: TableLine, other: TableLine) -> Difference | None:
    """None where the figure is no score, was averaged over seeds, or the statistics are gone."""
    one, two = line.systems[0].quality, other.systems[0].quality
    if not _testable(group, value) or one is None or two is None:
        return None
    ours, theirs = (record.metrics[group.metric].statistics for record in (one, two))
    return difference(group.metric, ours, theirs, **group.resampling)


def _written(row: Row, value: str) -> str:
    figure = row.get(value)
    if figure is None:
        return NONE
    show = cell_value(value).show
    shown_figure = show(figure)
    deviation = row.get(f"{value}_deviation")
    if deviation is not None:
        return f"{shown_figure} ± {show(deviation)}"
    if value != "retention":
        return shown_figure
    if row["is_reference"]:
        return f"{shown_figure} (reference)"
    return f"{shown_figure} ({format_interval(row['retention_ci'])})" if row["retention_ci"] else shown_figure

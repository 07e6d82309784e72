"""The plots of a sweep, each as PNG and as SVG: Pareto front, retention by ratio, searches for layers, and pivots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from stc.report.error_bars import describe_bars, error_bar, limit_quality, retention_title
from stc.report.importance_plot import plot_importance
from stc.report.pareto_plot import default_front_metric, plot_pareto_front, scored_lines
from stc.report.pivot import Pivot, cell_value
from stc.report.plot_style import (
    BYTES,
    COLUMN,
    CONTROL_COLOUR,
    COUNTS,
    PAGE,
    RATIO,
    SeriesStyles,
    canvas,
    colour,
    label_magnitudes,
    legend_below,
    legend_handle,
    marker,
    name_subject,
    plain_axes,
    set_title,
    shifted,
    wrapped,
)
from stc.report.sweep_jobs import ReportedJob
from stc.report.sweep_table import Group, TableLine, group_title, layer_searches

_AXES = {
    "params": ("parameters", COUNTS),
    "packed_elements": ("packed elements", COUNTS),
    "bytes_on_disk": ("size on disk", BYTES),
    "rtf": ("real-time factor (seconds a second of audio)", ("",)),
    "peak_memory_bytes": ("peak memory", BYTES),
}
"""Titles and units of the axes of figures that are no metrics."""


def plot_sweep(folder: Path, groups: Sequence[Group], pivots: Sequence[Pivot], metric: str | None = None) -> list[Path]:
    """Draw every plot that the groups and pivots have data for.

    Args:
        folder: created if it is missing.
        metric: of the Pareto fronts; None for COMET if every system has it, else the one that retention is measured by.

    Returns:
        the files, PNG and SVG.
    """
    drawn: list[Path] = []
    for group, stem in zip(groups, _file_stems([group_title(group) for group in groups]), strict=True):
        title = _subject(group_title(group), group.jobs, group.fixed)
        front_metric = metric or default_front_metric(group)
        if scored_lines(group, front_metric):
            drawn.append(plot_pareto_front(folder / f"pareto-{stem}.png", title, group, front_metric))
        if len({_percent_removed(line) for line in _lines_with_ratio(group)}) > 1:
            drawn.append(plot_retention_by_ratio(folder / f"ratio-{stem}.png", title, group))
        for number, (settings, rankings) in enumerate(layer_searches(group), 1):
            search_title = ", ".join(filter(None, [title, settings]))
            drawn.append(plot_importance(folder / f"importance-{stem}-{number}.png", search_title, rankings, True))
    for pivot, stem in zip(pivots, _file_stems([pivot.title for pivot in pivots]), strict=True):
        drawn.append(plot_pivot(folder / f"pivot-{stem}.png", pivot))
    return [file for png in drawn for file in (png, png.with_suffix(".svg"))]


def _subject(title: str, jobs: Iterable[ReportedJob], named: Iterable[str]) -> str:
    """Return what a plot is about: the title, with the models and ratios unless they are ``named`` in it."""
    models = [job.model for job in jobs if "model" not in named]
    ratios = sorted({job.ratio for job in jobs if job.ratio and RATIO not in named})
    return name_subject(models, title, ratios)


def _file_stems(titles: Sequence[str]) -> list[str]:
    """Return the titles as parts of file names, each of them different."""
    stems = [re.sub(r"[^\w.]+", "-", title).strip("-").lower() for title in titles]
    return [stem if stems.count(stem) == 1 else f"{stem}-{stems[:at].count(stem) + 1}" for at, stem in enumerate(stems)]


def _lines_with_ratio(group: Group) -> list[TableLine]:
    return [
        line
        for line in group.lines
        if not line.is_control
        and line.row["retention"] is not None
        and isinstance(line.settings.get(RATIO), int | float)  # it has none if the layers were named
    ]


def _percent_removed(line: TableLine) -> float:
    return 100 * float(line.settings[RATIO])


def plot_retention_by_ratio(path: Path, title: str, group: Group) -> Path:
    """Draw retention over the ratio of layers removed: a colour for each value of the first of the other settings, and
    a panel for each combination of the rest."""
    lines = sorted(_lines_with_ratio(group), key=_percent_removed)
    styles = SeriesStyles(group, lines)
    panels = styles.marker_values
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    points = [(_percent_removed(line), 100 * line.row["retention"]) for line in lines]
    bars = [error_bar(line, "retention", 100) for line in lines]
    width = COLUMN if columns == 1 else PAGE
    with canvas(path, (width, 0.3 + 2.0 * rows), vector=True) as figure:
        grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid, panels, strict=False):
            axes.axhline(100, color=CONTROL_COLOUR, ls="--", lw=0.8)
            for number, value in enumerate(styles.colour_values):
                series = [at for at, one in enumerate(lines) if styles.colour_value(one) == value]
                series = [at for at in series if styles.marker_value(lines[at]) == panel]
                if series:
                    axes.errorbar(
                        *zip(*(points[at] for at in series), strict=True),
                        yerr=list(zip(*(bars[at] for at in series), strict=True)),
                        fmt=f"{marker(number)}-",
                        color=colour(number),
                        capsize=2,
                        elinewidth=0.7,
                        transform=shifted(axes, styles.shift(lines[series[0]])),
                    )
            plain_axes(axes)
            axes.set_title(wrapped(panel, width / columns - 0.6))
            axes.set_xlabel("layers removed (%)")
            axes.tick_params(labelbottom=True)
        for axes in grid[::columns]:
            axes.set_ylabel(wrapped(retention_title(group.metric, group.reference_name), 1.6))
        ticks = sorted({x for x, _ in points})
        edge = 0.2 * (ticks[-1] - ticks[0])
        grid[0].set_xlim(ticks[0] - edge, ticks[-1] + edge)
        if min(two - one for one, two in pairwise(ticks)) > edge / 2:
            grid[0].set_xticks(ticks, [f"{ratio:.3g}" for ratio in ticks])
        limit_quality(grid[0], [*points, (0.0, 100.0)], [*bars, (0.0, 0.0)])
        set_title(figure, f"Retention by layers removed: {title}", describe_bars(group))
        values = enumerate(styles.colour_values)
        legend_below(figure, [legend_handle(marker(at), one, color=colour(at), ls="-") for at, one in values])
    return path


def plot_pivot(path: Path, pivot: Pivot) -> Path:
    """Draw a dot for each cell: a line of the plot is a row, a colour and marker a column."""
    group, key = pivot.group, pivot.value
    jobs = [job for line in pivot.cells.values() for job in line.jobs]
    is_titled = RATIO in group.keys and len({job.ratio for job in jobs}) == 1
    scale = 100 if key == "retention" else 1
    has_bars = key == "retention" or len(group.seeds) > 1
    gap = 0.8 / len(pivot.columns)
    names = [wrapped(row, 1.0) for row in pivot.rows]
    row_height = max(0.25, 0.13 * len(pivot.columns), 0.13 * max(1 + name.count("\n") for name in names))
    with canvas(path, (COLUMN, 0.7 + row_height * len(pivot.rows)), vector=True) as figure:
        axes = figure.subplots()
        plain_axes(axes)
        axes.grid(visible=False, axis="y")
        if key == "retention":
            axes.axvline(100, color=CONTROL_COLOUR, ls="--", lw=0.8)
        for border in range(1, len(pivot.rows)):
            axes.axhline(border - 0.5, color="#DDDDDD", lw=0.6)
        handles = []
        for number, column in enumerate(pivot.columns):
            cells = [(at, pivot.cells.get((row, column))) for at, row in enumerate(pivot.rows)]
            drawn = [(at, line) for at, line in cells if line is not None and line.row.get(key) is not None]
            bars = [error_bar(line, key, scale) for _, line in drawn]
            axes.errorbar(
                [scale * line.row[key] for _, line in drawn],
                [at + gap * (number - (len(pivot.columns) - 1) / 2) for at, _ in drawn],
                xerr=list(zip(*bars, strict=True)) if has_bars and bars else None,
                fmt=marker(number),
                color=colour(number),
                capsize=2,
                elinewidth=0.7,
            )
            handles.append(legend_handle(marker(number), column, color=colour(number)))
        axes.locator_params("x", nbins=6)
        axes.set_yticks(range(len(pivot.rows)), names)
        axes.set_ylim(len(pivot.rows) - 0.5, -0.5)
        if key in _AXES:
            label, units = _AXES[key]
            label_magnitudes(axes.xaxis, label, axes.get_xlim()[1], units)
        else:
            is_retention = key == "retention"
            label = retention_title(group.metric, group.reference_name) if is_retention else cell_value(key).title
            axes.set_xlabel(wrapped(label, 2.2))
        subject = _subject(pivot.title, jobs, [*group.fixed, *[RATIO] * is_titled])
        set_title(figure, f"{pivot.system}: {subject}", *[describe_bars(group)] * has_bars)
        axes.set_ylabel(pivot.row_title)
        legend_below(figure, handles, pivot.column_title)
    return path

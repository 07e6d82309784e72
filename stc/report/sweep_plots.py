"""The plots of a sweep, each as PNG and as SVG: Pareto front, retention by ratio, searches for layers, and pivots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from stc.metrics.metric import metric_named
from stc.report.pivot import Pivot, cell_value
from stc.report.plot_style import (
    RATIO,
    SeriesStyles,
    canvas,
    colour,
    label_quality_axes,
    legend_handle,
    marker,
    plain_axes,
    shifted,
)
from stc.report.run_plots import describe_intervals, plot_importance
from stc.report.sweep_table import Group, TableLine, group_title, layer_searches
from stc.system.number_formats import format_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

COMET = "comet"
_CONTROL = "#7F7F7F"
_FRONT = "#BBBBBB"
_CONTROL_MARKER = "*"
_SAME_SIZE = 1.01  # two systems are of the same size if the larger is at most this many times the smaller


def plot_sweep(
    folder: Path, name: str, groups: Sequence[Group], pivots: Sequence[Pivot], metric: str | None = None
) -> list[Path]:
    """Draw every plot that the groups and pivots have data for.

    Args:
        folder: created if it is missing.
        name: the sweep's, for the titles.
        metric: of the Pareto fronts; None for COMET if every system has it, else the one that retention is measured by.

    Returns:
        the files, PNG and SVG.
    """
    drawn: list[Path] = []
    for group, stem in zip(groups, _file_stems([group_title(group) for group in groups]), strict=True):
        title = f"{group_title(group)} ({name})"
        front_metric = metric or default_front_metric(group)
        if _scored(group, front_metric):
            drawn.append(plot_pareto_front(folder / f"pareto-{stem}.png", title, group, front_metric))
        if len({_percent_removed(line) for line in _lines_with_ratio(group)}) > 1:
            drawn.append(plot_retention_by_ratio(folder / f"ratio-{stem}.png", title, group))
        for number, (settings, rankings) in enumerate(layer_searches(group), 1):
            search_title = ", ".join(filter(None, [group_title(group), settings]))
            drawn.append(plot_importance(folder / f"importance-{stem}-{number}.png", search_title, rankings, True))
    for pivot, stem in zip(pivots, _file_stems([pivot.title for pivot in pivots]), strict=True):
        drawn.append(plot_pivot(folder / f"pivot-{stem}.png", f"{pivot.title} ({name})", pivot))
    return [file for png in drawn for file in (png, png.with_suffix(".svg"))]


def _file_stems(titles: Sequence[str]) -> list[str]:
    """Return the titles as parts of file names, each of them different."""
    stems = [re.sub(r"[^\w.]+", "-", title).strip("-").lower() for title in titles]
    return [stem if stems.count(stem) == 1 else f"{stem}-{stems[:at].count(stem) + 1}" for at, stem in enumerate(stems)]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points (bytes, goodness) no point of the same or a smaller size is as good as, smallest first.

    Of equal points the first counts. Sizes that differ by up to 1 % are the same, as headers of files are.
    """

    def is_beaten(at: int, by: int) -> bool:
        (bytes_at, score_at), (bytes_by, score_by) = points[at], points[by]
        if bytes_by > _SAME_SIZE * bytes_at or score_by < score_at:
            return False
        return score_by > score_at or (bytes_by, by) < (bytes_at, at)

    front = [at for at in range(len(points)) if not any(is_beaten(at, by) for by in range(len(points)))]
    return sorted(front, key=lambda at: points[at])


def default_front_metric(group: Group) -> str:
    """Return the metric of a group's Pareto front if none is named: COMET, which shared tasks rank by, if every line
    has it, else the one that retention is measured by."""
    return COMET if len(_scored(group, COMET)) == len(group.lines) else group.metric


def _scored(group: Group, metric: str) -> list[TableLine]:
    return [line for line in group.lines if line.row.get(metric) is not None]


def plot_pareto_front(path: Path, title: str, group: Group, metric_name: str) -> Path:
    """Draw quality against size of the lines of a group that have a metric, one at least, with names at the controls
    and on the Pareto front."""
    lines = _scored(group, metric_name)
    points = [(float(line.row["bytes_on_disk"]), float(line.row[metric_name])) for line in lines]
    styles = SeriesStyles(group, [line for line in lines if not line.is_control])
    metric = metric_named(metric_name)
    front = pareto_front([(x, metric.goodness(y)) for x, y in points])
    right = 1.12 * max(x for x, _ in points)
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    margin = 0.12 * (top - bottom) or 1.0
    with canvas(path, (9.5, 5.6), vector=True) as figure:
        axes = figure.subplots()
        axes.set_xlim(0, right)
        axes.set_ylim(bottom - margin, top + margin)
        steps = [corner for at, to in pairwise(front) for corner in (points[at], (points[to][0], points[at][1]))]
        steps += [points[front[-1]], (right, points[front[-1]][1])]
        axes.plot(*zip(*steps, strict=True), color=_FRONT, lw=1.5, zorder=1)
        names = []
        for at, (line, (x, y)) in enumerate(zip(lines, points, strict=True)):
            best = at in front
            axes.plot(
                x,
                y,
                _CONTROL_MARKER if line.is_control else styles.marker(line),
                color=_CONTROL if line.is_control else styles.colour(line),
                markersize=11 if line.is_control else 7,
                markeredgecolor="black" if best else "white",
                markeredgewidth=1.4 if best else 0.5,
                zorder=3 if best else 2,
                transform=shifted(axes, 0.0 if line.is_control or best else styles.shift(line)),
            )
            if line.is_control or best:
                weight = "bold" if best else "normal"
                names.append(axes.text(x, y, _short_name(line), fontsize=8, fontweight=weight, zorder=4))
        label_quality_axes(axes, metric.heading)
        axes.set_title(f"{metric.title} against size: {title}", fontsize=11)
        meaning = "Pareto front: nothing as\nsmall (to 1 %) is as good"
        front_handle = legend_handle("o", meaning, mfc="white", mec="black")
        front_handle.set(linestyle="-", color=_FRONT, markeredgewidth=1.4)
        control = legend_handle(_CONTROL_MARKER, "control, not pruned", color=_CONTROL, markersize=9)
        handles = [*styles.colour_handles(), *styles.marker_handles(), control, front_handle]
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
        figure.draw_without_rendering()  # lays the figure out, which decides where the names have room
        place_names(axes, names, points, steps)
    return path


def _short_name(line: TableLine) -> str:
    """Return the name of a control, and of other systems the settings in which they differ."""
    settings = ", ".join(map(format_setting, line.settings.values()))
    if line.is_control and settings:
        return f"{line.name} ({settings})"
    return line.name if line.is_control else settings or line.name


def place_names(
    axes: Axes, names: Sequence[Text], points: Sequence[tuple[float, float]], line: Sequence[tuple[float, float]]
) -> None:
    """Move names away from one another, from the points and from a line; a name far from its place gets a leader."""
    import numpy as np
    from adjustText import adjust_text

    along = [point for ends in pairwise(line) for point in np.linspace(*ends, 15)]
    xs, ys = np.array([*points, *along]).T
    adjust_text(
        list(names),
        x=xs,
        y=ys,
        target_x=[name.get_position()[0] for name in names],
        target_y=[name.get_position()[1] for name in names],
        ax=axes,
        expand=(1.15, 1.6),
        force_text=(0.3, 0.5),
        force_static=(0.4, 0.8),
        force_explode=(0.3, 0.9),
        iter_lim=500,
        min_arrow_len=8,
        arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.6},
    )


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
    columns = min(3, len(styles.marker_values))
    rows = -(-len(styles.marker_values) // columns)
    with canvas(path, (2.6 + 3.2 * columns, 1.5 + 2.8 * rows), vector=True) as figure:
        panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes in panels[len(styles.marker_values) :]:
            axes.set_axis_off()
        for axes, panel in zip(panels, styles.marker_values, strict=False):
            axes.axhline(100, color=_CONTROL, ls="--", lw=1)
            for value in styles.colour_values:
                series = [
                    one for one in lines if (styles.colour_value(one), styles.marker_value(one)) == (value, panel)
                ]
                if series:
                    axes.errorbar(
                        [_percent_removed(line) for line in series],
                        [100 * line.row["retention"] for line in series],
                        yerr=list(zip(*(_error_bar(line, "retention", 100) for line in series), strict=True)),
                        fmt="o-",
                        color=styles.colour(series[0]),
                        capsize=2,
                        markersize=5,
                        elinewidth=1,
                        transform=shifted(axes, styles.shift(series[0])),
                    )
            plain_axes(axes)
            axes.set_title(panel, fontsize=10)
            axes.set_xlabel("layers removed, %")
            axes.tick_params(labelbottom=True)
        for axes in panels[::columns]:
            axes.set_ylabel("retention, %")
        # matplotlib does not see marks that are drawn shifted, so the limits are set by hand.
        ticks = sorted({_percent_removed(line) for line in lines})
        edge = 0.2 * (ticks[-1] - ticks[0])
        panels[0].set_xlim(ticks[0] - edge, ticks[-1] + edge)
        panels[0].set_xticks(ticks, [f"{ratio:g}" for ratio in ticks])
        bars = [(100 * line.row["retention"], *_error_bar(line, "retention", 100)) for line in lines]
        low, high = min(value - below for value, below, _ in bars), max(value + above for value, _, above in bars)
        margin = 0.05 * (max(high, 100) - low) or 1.0
        panels[0].set_ylim(low - margin, max(high, 100) + margin)
        figure.suptitle(f"{title}\n100 %: {group.reference_name}. {_describe_bars(group)}", fontsize=11)
        if styles.colour_handles():
            figure.legend(handles=styles.colour_handles(), loc="outside right upper", frameon=False, fontsize=8)
    return path


def plot_pivot(path: Path, title: str, pivot: Pivot) -> Path:
    """Draw a dot for each cell: a line of the plot is a row, a colour and marker a column."""
    group, key = pivot.group, pivot.value
    scale = 100 if key == "retention" else 1
    has_bars = key in ("retention", group.metric) or len(group.seeds) > 1
    gap = 0.8 / len(pivot.columns)
    height = max(2.6, 1.6 + len(pivot.rows) * max(0.45, 0.17 * len(pivot.columns)))
    with canvas(path, (9.0, height), vector=True) as figure:
        axes = figure.subplots()
        if key == "retention":
            axes.axvline(100, color=_CONTROL, ls="--", lw=1)
        for border in range(1, len(pivot.rows)):
            axes.axhline(border - 0.5, color="#DDDDDD", lw=0.8)
        for number, column in enumerate(pivot.columns):
            cells = [(at, pivot.cells.get((row, column))) for at, row in enumerate(pivot.rows)]
            drawn = [(at, line) for at, line in cells if line is not None and line.row.get(key) is not None]
            bars = [_error_bar(line, key, scale) for _, line in drawn]
            axes.errorbar(
                [scale * line.row[key] for _, line in drawn],
                [at + gap * (number - (len(pivot.columns) - 1) / 2) for at, _ in drawn],
                xerr=list(zip(*bars, strict=True)) if has_bars and bars else None,
                fmt=marker(number),
                color=colour(number),
                capsize=2,
                markersize=6,
                elinewidth=1.2,
                label=column,
            )
        plain_axes(axes)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(pivot.rows)), pivot.rows)
        axes.set_ylim(len(pivot.rows) - 0.5, -0.5)
        axes.set_xlabel(f"retention in % of {group.reference_name}" if key == "retention" else cell_value(key).title)
        axes.set_title(f"{pivot.system}: {title}" + f"\n{_describe_bars(group)}" * has_bars, fontsize=11)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return path


def _error_bar(line: TableLine, key: str, scale: float) -> tuple[float, float]:
    """Return how far an error bar reaches below and above a figure: a deviation, or to the ends of its interval."""
    value: float = line.row[key]
    deviation = line.row.get(f"{key}_deviation")
    if deviation is not None:
        return scale * deviation, scale * deviation
    low, high = line.row.get("retention_ci" if key == "retention" else "score_ci") or (value, value)
    return scale * max(0.0, value - low), scale * max(0.0, high - value)


def _describe_bars(group: Group) -> str:
    if len(group.seeds) > 1:
        return f"Bars: standard deviation over {len(group.seeds)} seeds."
    return describe_intervals(group.resampling["confidence"], group.sentences)

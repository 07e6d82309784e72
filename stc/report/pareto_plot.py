"""The plot of quality against size of a sweep, with its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from stc.metrics.metric import metric_named
from stc.report.error_bars import describe_bars, error_bar, limit_quality, retention_title
from stc.report.plot_style import (
    COLUMN,
    CONTROL_COLOUR,
    CONTROL_MARKERS,
    RATIO,
    SeriesStyles,
    canvas,
    label_sizes,
    legend_below,
    legend_handle,
    plain_axes,
    set_title,
    shifted,
    wrapped,
)
from stc.report.sweep_table import Group, TableLine
from stc.system.number_formats import format_setting

COMET = "comet"
_FRONT = "#AAAAAA"
_SAME_SIZE = 1.01  # two systems are of the same size if the larger is at most this many times the smaller


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
    return COMET if len(scored_lines(group, COMET)) == len(group.lines) else group.metric


def scored_lines(group: Group, metric: str) -> list[TableLine]:
    return [line for line in group.lines if line.row.get(metric) is not None]


def plot_pareto_front(path: Path, title: str, group: Group, metric_name: str) -> Path:
    """Draw quality against size of the lines of a group that have a metric, one at least.

    The quality is retention, with its bars, if the metric is the one that retention is measured by. Systems on the
    Pareto front are numbered and named below; each control has a marker of its own.
    """
    lines = scored_lines(group, metric_name)
    metric = metric_named(metric_name)
    is_retention = metric_name == group.metric and all(line.row["retention"] is not None for line in lines)
    key, scale = ("retention", 100) if is_retention else (metric_name, 1)
    points = [(float(line.row["bytes_on_disk"]), float(scale * line.row[key])) for line in lines]
    bars = [error_bar(line, key, scale) for line in lines]
    front = pareto_front([(x, y if is_retention else metric.goodness(y)) for x, y in points])
    pruned = [line for line in lines if not line.is_control]
    styles = SeriesStyles(group, pruned)
    controls = list(dict.fromkeys(line.name for line in lines if line.is_control))

    def style(line: TableLine) -> dict[str, Any]:
        if line.is_control:
            sign = CONTROL_MARKERS[controls.index(line.name) % len(CONTROL_MARKERS)]
            return {"marker": sign, "color": CONTROL_COLOUR, "mfc": "white"}
        return {"marker": styles.marker(line), "color": styles.colour(line)}

    with canvas(path, (COLUMN, 2.6), vector=True) as figure:
        axes = figure.subplots()
        plain_axes(axes)
        label_sizes(axes, [x for x, _ in points], len(styles.colour_values) > 1)
        limit_quality(axes, points, bars)
        steps = [corner for at, to in pairwise(front) for corner in (points[at], (points[to][0], points[at][1]))]
        steps += [points[front[-1]], (axes.get_xlim()[1], points[front[-1]][1])]
        axes.plot(*zip(*steps, strict=True), color=_FRONT, zorder=1)
        for at, (line, (x, y), bar) in enumerate(zip(lines, points, bars, strict=True)):
            is_best = at in front
            axes.errorbar(
                x,
                y,
                yerr=[[bar[0]], [bar[1]]] if any(bar) else None,
                elinewidth=0.5,
                zorder=3 if is_best else 2,
                transform=shifted(axes, 0.0 if line.is_control or is_best else styles.shift(line)),
                **style(line),
            )
        names = [_describe(line, styles) for line in lines]
        handles = [one for one in styles.colour_handles() if one.get_label() not in [names[at] for at in front]]
        handles += styles.marker_handles()
        for number, at in enumerate(front, 1):
            axes.annotate(str(number), points[at], (-3, 3), textcoords="offset points", ha="right", fontweight="bold")
            handles.append(legend_handle(label=f"{number}: {names[at]}", **style(lines[at])))
        others = {line.name: line for at, line in enumerate(lines) if line.is_control and at not in front}
        handles += [legend_handle(label=f"{name} (control)", **style(line)) for name, line in others.items()]
        label = retention_title(metric_name, group.reference_name) if is_retention else metric.heading
        axes.set_ylabel(wrapped(label, 2.0))
        meaning = "Line: Pareto front, where nothing as small (to 1 %) is as good."
        about_bars = describe_bars(group) if is_retention or any(map(any, bars)) else ""
        set_title(figure, f"Quality against size: {title}", about_bars, meaning)
        legend_below(figure, handles)
    return path


def _describe(line: TableLine, styles: SeriesStyles) -> str:
    """Return the name of a control, and of other systems what tells them apart."""
    settings = [
        f"{100 * value:.3g} % removed" if key == RATIO and isinstance(value, float) else format_setting(value)
        for key, value in line.settings.items()
    ]
    if line.is_control:
        return f"{line.name} ({', '.join(['control', *settings])})"
    return ", ".join([line.name] * styles.is_named + settings)

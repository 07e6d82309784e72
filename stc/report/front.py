"""Quality against size of all the systems of a sweep, and the front that no system of another size is beyond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from stc.metrics.metric import metric_named
from stc.report.labels import Label, place
from stc.report.look import CONTROL, CONTROL_SHAPE, Look
from stc.report.run_plots import canvas, plain_axes
from stc.report.sweep import Group, TableLine, format_setting
from stc.system.quantities import format_bytes

ONE_SIZE = 1.01
"""Larger size ÷ smaller, up to which two systems are of one size."""


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Of (bytes, goodness) the places of those that nothing as small is as good as, smallest first; of equal points the
    first. Sizes that differ by less than :data:`ONE_SIZE` are the same: headers of files are not worth a place."""

    def beaten(at: int, by: int) -> bool:
        (bytes_at, score_at), (bytes_by, score_by) = points[at], points[by]
        if bytes_by > ONE_SIZE * bytes_at or score_by < score_at:
            return False
        return score_by > score_at or (bytes_by, by) < (bytes_at, at)

    kept = [at for at in range(len(points)) if not any(beaten(at, by) for by in range(len(points)))]
    return sorted(kept, key=lambda at: points[at])


def plot_front(path: Path, title: str, group: Group) -> Path:
    """Every line of a group; controls and what is on the front by name."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter
    from matplotlib.transforms import ScaledTranslation

    lines = list(group.lines)
    points = [(float(line.row["bytes_on_disk"]), float(line.row[group.metric])) for line in lines]
    look = Look(group, [line for line in lines if not line.control])
    metric = metric_named(group.metric)
    front = pareto([(x, metric.goodness(y)) for x, y in points])
    right = 1.12 * max(x for x, _ in points)
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    margin = 0.12 * (top - bottom) or 1.0
    with canvas(path, (9.5, 5.6), vector=True) as figure:
        axes = figure.subplots()
        axes.set_xlim(0, right)
        axes.set_ylim(bottom - margin, top + margin)
        steps = [corner for at, to in pairwise(front) for corner in (points[at], (points[to][0], points[at][1]))]
        steps += [points[front[-1]], (right, points[front[-1]][1])]
        axes.plot(*zip(*steps, strict=True), color="#BBBBBB", lw=1.5, zorder=1)
        labels = []
        for at, (line, (x, y)) in enumerate(zip(lines, points, strict=True)):
            best = at in front
            shift = 0.0 if line.control or best else look.shift(line)
            axes.plot(
                x,
                y,
                CONTROL_SHAPE if line.control else look.shape(line),
                color=CONTROL if line.control else look.colour(line),
                markersize=11 if line.control else 7,
                markeredgecolor="black" if best else "white",
                markeredgewidth=1.4 if best else 0.5,
                zorder=3 if best else 2,
                transform=axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans),
            )
            labels.append(Label(x, y, shift, _told(line) if line.control or best else "", best))
        plain_axes(axes)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_bytes(value) if value else "0"))
        axes.set_xlabel("bytes on disk (systems of one size stand side by side)")
        axes.set_ylabel(f"{metric.heading} on the test split")
        axes.set_title(
            f"Quality against size: {title}\non the line, with black rims: nothing as small (to 1 %) is as good",
            fontsize=11,
        )
        control = Line2D([], [], marker=CONTROL_SHAPE, markersize=9, ls="", color=CONTROL, label="control, not pruned")
        figure.legend(
            handles=[*look.colours(), *look.shapes(), control], loc="outside right upper", frameon=False, fontsize=8
        )
        place(figure, axes, labels, steps)
    return path


def _told(line: TableLine) -> str:
    """A line beside its mark: a control by its name, others by their settings, which tell them apart."""
    settings = ", ".join(format_setting(one) for one in line.settings.values())
    if line.control:
        return f"{line.name} ({settings})" if settings else line.name
    return settings or line.name

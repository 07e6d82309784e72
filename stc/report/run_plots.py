"""The plots of a run, as PNG; those of a sweep are in ``sweep_plots``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.metrics.metric import metric_named
from stc.pipeline.logged_curves import Curves
from stc.report.error_bars import describe_intervals, limit_quality, retention_title
from stc.report.importance_plot import plot_importance
from stc.report.plot_style import (
    COLUMN,
    CONTROL_COLOUR,
    canvas,
    colour,
    label_sizes,
    legend_below,
    legend_handle,
    marker,
    plain_axes,
    set_title,
    shifted,
    spread_out,
    wrapped,
)
from stc.report.stored_results import read_searches
from stc.store.artifact import Kind
from stc.system.number_formats import format_bytes

if TYPE_CHECKING:
    from stc.pipeline.runner import NodeResult

_SHIFT = 7.0  # points between the marks of systems of the same size
_LINES = ("-", "--", "-.", ":")
_FEW_POINTS = 40  # of a curve whose points are marked


@dataclass(frozen=True)
class PlottedSystem:
    """A system in the plot of quality: its size in bytes, its quality as a number and in words, and the ends of its
    error bar."""

    name: str
    bytes: float
    quality: float
    low: float
    high: float
    score: str = ""
    is_control: bool = False


def plot_run(folder: Path, title: str, systems: Sequence[Mapping[str, Any]], done: Iterable[NodeResult]) -> list[Path]:
    """Draw what the run has: importance of layers, training curves, and quality against size.

    Args:
        folder: created if it is missing.
        title: part of the title of every plot.
        systems: the rows of the comparison; empty if the run made none.
        done: every node of the run. Rankings that are missing from the store or damaged are left out.

    Returns:
        the files.
    """
    done = list(done)
    files = [
        plot_importance(folder / f"{name}.png", title, rankings)
        for name, rankings in read_searches(
            (one.name, one.artifact.path) for one in done if one.artifact.kind is Kind.RANKING
        ).items()
    ]
    trained = {one.name: one.curves for one in done if "loss" in one.curves}
    if trained:
        dev = {one.name: one.artifact.facts["dev_loss"] for one in done if "dev_loss" in one.artifact.facts}
        files.append(plot_training(folder / "training.png", title, trained, dev))
    if systems:
        compared = systems[0]["compared"]
        bars = describe_intervals(compared["confidence"], compared["sentences"]) if _have_retention(systems) else ""
        marks, axis = _marks(systems, compared["metric"], compared["reference"])
        files.append(plot_quality(folder / "quality.png", title, axis, marks, bars))
    return files


def plot_seeds(folder: Path, title: str, systems: Sequence[Mapping[str, Any]], seeds: int) -> list[Path]:
    """Draw quality against size over several seeds.

    Args:
        systems: as :func:`stc.report.run_table.aggregate_seeds` returns them.
        seeds: how many there were.
    """
    if not systems:
        return []
    bars = f"Bars: standard deviation over {seeds} seeds."
    marks, axis = _marks(systems, systems[0]["metric"], "the best unpruned system")
    return [plot_quality(folder / "quality.png", title, axis, marks, bars)]


def _have_retention(systems: Sequence[Mapping[str, Any]]) -> bool:
    return all(row["retention"] is not None for row in systems)


def _marks(systems: Sequence[Mapping[str, Any]], metric: str, reference: str) -> tuple[list[PlottedSystem], str]:
    """Return the systems with their retention and its bars as in the table, or their scores where a reference scores 0;
    and the label of the axis."""
    title = metric_named(metric).title
    has_retention = _have_retention(systems)
    marks = []
    for number, row in enumerate(systems):
        quality = 100 * row["retention"] if has_retention else row[metric]
        low, high = quality, quality
        if has_retention and row.get("retention_ci"):
            low, high = (100 * end for end in row["retention_ci"])
        elif deviation := row.get("retention_deviation" if has_retention else f"{metric}_deviation"):
            reach = 100 * deviation if has_retention else deviation
            low, high = quality - reach, quality + reach
        is_control = number < len(systems) - 1 and row["params"] >= systems[0]["params"]
        score = f"{title} {row[metric]:.1f}"
        marks.append(PlottedSystem(row["name"], row["bytes_on_disk"], quality, low, high, score, is_control))
    return marks, retention_title(metric, reference) if has_retention else metric_named(metric).heading


def plot_quality(path: Path, title: str, axis: str, marks: Sequence[PlottedSystem], bars: str) -> Path:
    """Draw quality against bytes on disk, controls hollow.

    Args:
        axis: the label of the axis of quality.
        bars: says what the error bars are, or why there are none.
    """
    with canvas(path, (COLUMN, 2.4)) as figure:
        axes = figure.subplots()
        plain_axes(axes)
        same = [[other for other in marks if 0.98 < other.bytes / mark.bytes < 1.02] for mark in marks]
        label_sizes(axes, [mark.bytes for mark in marks], any(len(several) > 1 for several in same))
        reach = [(mark.quality - mark.low, mark.high - mark.quality) for mark in marks]
        limit_quality(axes, [(mark.bytes, mark.quality) for mark in marks], reach)
        handles = []
        for number, (mark, neighbours) in enumerate(zip(marks, same, strict=True)):
            style: dict[str, Any] = (
                {"color": CONTROL_COLOUR, "mfc": "white"} if mark.is_control else {"color": colour(number)}
            )
            axes.errorbar(
                mark.bytes,
                mark.quality,
                yerr=[[max(0.0, mark.quality - mark.low)], [max(0.0, mark.high - mark.quality)]],
                fmt=marker(number),
                capsize=2,
                transform=shifted(axes, _SHIFT * (neighbours.index(mark) - (len(neighbours) - 1) / 2)),
                **style,
            )
            name = f"{mark.name} (control)" if mark.is_control else mark.name
            figures = ", ".join(filter(None, [format_bytes(mark.bytes), mark.score]))
            handles.append(legend_handle(marker(number), f"{name}: {figures}", **style))
        axes.set_ylabel(wrapped(axis, 1.8))
        set_title(figure, f"Quality against size: {title}", bars)
        legend_below(figure, handles)
    return path


def plot_training(path: Path, title: str, trained: Mapping[str, Curves], dev: Mapping[str, float]) -> Path:
    """Draw the curves of the loss of trainings over the steps, with the loss on dev at the end.

    Args:
        trained: name of a stage → its curves, one of them ``loss``.
        dev: name of a stage → its loss on dev at the end, where there is one.
    """
    from matplotlib.ticker import MaxNLocator

    with canvas(path, (COLUMN, 2.2)) as figure:
        axes = figure.subplots()
        plain_axes(axes)
        handles, values = [], list(dev.values())
        for number, (name, curves) in enumerate(trained.items()):
            steps, losses = zip(*curves["loss"], strict=True)
            style: dict[str, Any] = {"color": colour(number), "ls": _LINES[number % len(_LINES)]}
            sign = "." if len(steps) <= _FEW_POINTS else ""
            values += losses
            axes.plot(steps, losses, marker=sign, **style)
            label = name
            if name in dev:
                axes.plot(steps[-1], dev[name], "D", color=colour(number), mfc="white", zorder=3)
                label = f"{name} (dev: {dev[name]:.3f})"
            handles.append(legend_handle(sign, label, **style))
        spread_out(axes.yaxis, values)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats a token)")
        set_title(figure, f"Training: {title}", "Diamond: the loss on dev at the end." if dev else "")
        legend_below(figure, handles)
    return path

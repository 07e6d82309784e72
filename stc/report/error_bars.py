"""The error bars of plots: those of the tables, and in words what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stc.report.sweep_table import Group, TableLine


def error_bar(line: TableLine, key: str, scale: float) -> tuple[float, float]:
    """Return how far an error bar reaches below and above a figure: a deviation, or to the ends of the interval that
    the table has for it."""
    value: float = line.row[key]
    deviation = line.row.get(f"{key}_deviation")
    if deviation is not None:
        return scale * deviation, scale * deviation
    low, high = (key == "retention" and line.row.get("retention_ci")) or (value, value)
    return scale * max(0.0, value - low), scale * max(0.0, high - value)


def describe_bars(group: Group) -> str:
    if len(group.seeds) > 1:
        return f"Bars: standard deviation over {len(group.seeds)} seeds."
    return describe_intervals(group.resampling["confidence"], group.sentences)


def describe_intervals(confidence: float, sentences: int) -> str:
    """Return a sentence that says what error bars are intervals of, or why there are none."""
    bars = f"Bars: {100 * confidence:g} % paired bootstrap interval." if enough_sentences(sentences) else ""
    return " ".join(filter(None, [bars, sample_size_note(sentences)]))


def retention_title(metric: str, reference: str) -> str:
    """Return the label of an axis of retention."""
    return f"{metric_named(metric).better} retained (% of {reference})"


def limit_quality(axes: Axes, points: Sequence[tuple[float, float]], bars: Sequence[tuple[float, float]]) -> None:
    """Set the limits of quality by hand, because matplotlib does not see marks that are drawn shifted."""
    low = min(y - below for (_, y), (below, _) in zip(points, bars, strict=True))
    high = max(y + above for (_, y), (_, above) in zip(points, bars, strict=True))
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)

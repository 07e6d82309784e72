"""How the lines of a group look in plots: colours, shapes, and the ends of their bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stc.report.run_plots import COLOURS, MARKERS, describe_intervals
from stc.report.sweep import Group, TableLine, format_setting

CONTROL = "#7F7F7F"
CONTROL_SHAPE = "*"
RATIO = "prune.ratio"
_SHAPES = f"{MARKERS}<>hp8d"
_STEP = 5.0  # points of paper between marks that would stand on one another


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def shape(number: int) -> str:
    return _SHAPES[number % len(_SHAPES)]


class Look:
    """Colours by the first setting, other than the ratio, in which a group's jobs differ; shapes by all the rest.

    Attributes:
        firsts: the values of the first, in words, and ``rests``, the combinations of the others.
    """

    def __init__(self, group: Group, lines: Sequence[TableLine]) -> None:
        keys = [key for key in group.keys if key != RATIO]
        self._first, self._rest = keys[:1], keys[1:]
        self.firsts = list(dict.fromkeys(map(self.first, lines)))
        self.rests = list(dict.fromkeys(map(self.rest, lines)))

    def first(self, line: TableLine) -> str:
        return ", ".join(format_setting(line.settings[key]) for key in self._first)

    def rest(self, line: TableLine) -> str:
        return ", ".join(format_setting(line.settings[key]) for key in self._rest)

    def colour(self, line: TableLine) -> str:
        return colour(self.firsts.index(self.first(line)))

    def shape(self, line: TableLine) -> str:
        return shape(self.rests.index(self.rest(line)))

    def shift(self, line: TableLine) -> float:
        """Points of paper to the right, so that lines of different colours do not cover one another."""
        return _STEP * (self.firsts.index(self.first(line)) - (len(self.firsts) - 1) / 2)

    def colours(self) -> list[Any]:
        """For a legend: the first setting."""
        return [_handle("o", one, color=colour(at)) for at, one in enumerate(self.firsts) if one]

    def shapes(self) -> list[Any]:
        """For a legend: the others."""
        return [_handle(shape(at), one, mfc="white", color="black") for at, one in enumerate(self.rests) if one]


def _handle(marker: str, name: str, **look: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, ls="", label=name, **look)  # type: ignore[arg-type]


def spread(line: TableLine, key: str, scale: float = 1.0) -> tuple[float, float]:
    """How far below and above a figure its bar reaches: to the ends of its interval, or a deviation to either side."""
    value: float = line.row[key]
    deviation = line.row.get(f"{key}_deviation")
    if deviation is not None:
        return scale * deviation, scale * deviation
    low, high = line.row.get("retention_ci" if key == "retention" else "score_ci") or (value, value)
    return scale * max(0.0, value - low), scale * max(0.0, high - value)


def bars_are(group: Group) -> str:
    """Return what the bars are, or why there are none, in words."""
    if len(group.seeds) > 1:
        return f"Bars: standard deviation over {len(group.seeds)} seeds."
    return describe_intervals(group.resampling["confidence"], group.sentences)

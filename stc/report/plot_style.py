"""The style of all plots: colours, markers, axes, and the figure to draw on.

matplotlib is imported only when something is drawn, and no window is opened. The colours are those of Okabe and Ito,
which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.system.number_formats import format_bytes, format_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

    from stc.report.sweep_table import Group, TableLine

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX<>hp8d"
RATIO = "prune.ratio"
_DPI = 150
_SHIFT = 5.0  # points between marks that would cover one another


def plain_axes(axes: Axes) -> None:
    """Give the axes a light grid and no frame above and to the right."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def label_quality_axes(axes: Axes, metric: str) -> None:
    """Label the axes of a plot of quality against size."""
    from matplotlib.ticker import FuncFormatter

    plain_axes(axes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_bytes(value) if value else "0"))
    axes.set_xlabel("bytes on disk (systems of the same size are drawn side by side)")
    axes.set_ylabel(f"{metric} on the test split")


def shifted(axes: Axes, points: float) -> Transform:
    """Return the transform that draws data of the axes some points to the right of its place."""
    from matplotlib.transforms import offset_copy

    return offset_copy(axes.transData, axes.get_figure(root=True), x=points, units="points")


@contextmanager
def canvas(path: Path, inches: tuple[float, float], vector: bool = False) -> Iterator[Figure]:
    """Yield a figure to draw on, and save it at the end; with ``vector`` also as SVG beside ``path``.

    Names are shown as they are, whatever the user's matplotlib settings.
    """
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        matplotlib.rc_context({"text.usetex": False, "text.parse_math": False, "svg.hashsalt": "stc"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a character the font lacks is drawn as a box
        figure = Figure(figsize=inches, layout="constrained")
        yield figure
        figure.savefig(path, dpi=_DPI)
        if vector:
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


class SeriesStyles:
    """The colours and markers of the lines of a group.

    Colours are by the first setting in which the jobs differ, other than the ratio; markers by all the other settings.

    Attributes:
        colour_values: the values of the first setting, in words.
        marker_values: the combinations of the others.
    """

    def __init__(self, group: Group, lines: Sequence[TableLine]) -> None:
        keys = [key for key in group.keys if key != RATIO]
        self._colour_keys, self._marker_keys = keys[:1], keys[1:]
        self.colour_values = list(dict.fromkeys(map(self.colour_value, lines)))
        self.marker_values = list(dict.fromkeys(map(self.marker_value, lines)))

    def colour_value(self, line: TableLine) -> str:
        return ", ".join(format_setting(line.settings[key]) for key in self._colour_keys)

    def marker_value(self, line: TableLine) -> str:
        return ", ".join(format_setting(line.settings[key]) for key in self._marker_keys)

    def colour(self, line: TableLine) -> str:
        return colour(self.colour_values.index(self.colour_value(line)))

    def marker(self, line: TableLine) -> str:
        return marker(self.marker_values.index(self.marker_value(line)))

    def shift(self, line: TableLine) -> float:
        """Return how many points to the right a mark is drawn, so that colours do not cover one another."""
        at = self.colour_values.index(self.colour_value(line))
        return _SHIFT * (at - (len(self.colour_values) - 1) / 2)

    def colour_handles(self) -> list[Any]:
        return [legend_handle("o", one, color=colour(at)) for at, one in enumerate(self.colour_values) if one]

    def marker_handles(self) -> list[Any]:
        values = enumerate(self.marker_values)
        return [legend_handle(marker(at), one, mfc="white", color="black") for at, one in values if one]


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def legend_handle(marker: str, name: str, **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, ls="", label=name, **style)

"""The style of all plots: sizes, fonts, colours, markers, axes, and the figure to draw on.

A plot is as wide as a column or as the text of a paper, so that it is printed as it is drawn. matplotlib is imported
only when something is drawn, and no window is opened. The colours are those of Okabe and Ito, which colour-blind
readers can tell apart, in an order in which neighbours differ in grey, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.system.number_formats import format_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

    from stc.report.sweep_table import Group, TableLine

COLUMN, PAGE = 3.35, 7.0
"""The widths of a column and of the text of a paper, in inches: 8.5 and 17.8 cm."""

COLOURS = ("#0072B2", "#E69F00", "#000000", "#009E73", "#56B4E9", "#D55E00", "#CC79A7")
MARKERS = "osD^vPX<>hp8d"
CONTROL_COLOUR = "#595959"
CONTROL_MARKERS = "pdPXv*<>"
BYTES = ("B", "kB", "MB", "GB", "TB")
COUNTS = ("", "thousands", "millions", "billions", "trillions")
RATIO = "prune.ratio"
_DPI = 300
_TEXT, _SMALL = 7.0, 6.5  # points
_LOG_FROM, _LOG_SIZES_FROM = 10.0, 5.0  # how many times the smallest value the largest is on a logarithmic axis
_SHIFT = 4.0  # points between marks that would cover one another
_STYLE: Any = {
    "text.usetex": False,
    "text.parse_math": False,
    "svg.hashsalt": "stc",
    "font.size": _TEXT,
    "axes.labelsize": _TEXT,
    "axes.titlesize": _TEXT,
    "figure.titlesize": _TEXT,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "legend.fontsize": _SMALL,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
}


@contextmanager
def canvas(path: Path, inches: tuple[float, float], vector: bool = False) -> Iterator[Figure]:
    """Yield a figure to draw on, and save it at the end; with ``vector`` also as SVG beside ``path``.

    Names are shown as they are, whatever the user's matplotlib settings.
    """
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a character the font lacks is drawn as a box
        figure = Figure(figsize=inches, layout="constrained")
        yield figure
        figure.savefig(path, dpi=_DPI)
        if vector:
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def wrapped(text: str, inches: float, points: float = _TEXT) -> str:
    """Return the text in lines that fit into so many inches, broken after spaces and signs, and in names if need be."""
    lines = [""]
    for word in re.findall(r"[^ ]+?(?:[-/_,+=]+ *| +|$)", text):
        for part in [word] if _inches(word.strip(), points) <= inches else word:
            if _inches((lines[-1] + part).strip(), points) > inches:
                lines.append("")
            lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def _inches(text: str, points: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=points), ismath=False)[0]
    return width / 72


def name_subject(models: Iterable[str], language: str, ratios: Iterable[float | None], *more: str) -> str:
    """Return what a plot is about: ``talks, German, 25 and 50 % of layers removed``, and ``more``."""
    percents = [f"{100 * ratio:.3g}" for ratio in dict.fromkeys(ratios) if ratio]
    shares = " and ".join(percents) if len(percents) < 3 else f"{percents[0]} to {percents[-1]}"
    removed = f"{shares}\N{NO-BREAK SPACE}% of layers removed" if shares else ""
    return ", ".join(filter(None, [" and ".join(dict.fromkeys(models)), language, removed, *more]))


def set_title(figure: Figure, title: str, *notes: str) -> None:
    """Write the title above everything, and the notes below it, in lines that fit; the figure grows by them."""
    room = float(figure.get_figwidth()) - 0.1
    text = "\n".join(wrapped(line, room) for line in (title, *notes) if line)
    figure.suptitle(text, x=0.05 / figure.get_figwidth(), ha="left")
    _grow(figure, text.count("\n") + 1)


def _grow(figure: Figure, lines: int) -> None:
    figure.set_figheight(figure.get_figheight() + 0.13 * lines)


def legend_below(figure: Figure, handles: Sequence[Any], title: str = "") -> None:
    """Draw a legend below everything, in as many columns as there is room for; the figure grows by it."""
    sign, width = 0.45, float(figure.get_figwidth()) - 0.1  # inches
    widest = max((_inches(str(handle.get_label()), _SMALL) for handle in handles), default=0.0)
    columns = max(1, min(4, len(handles), int(width / (widest + sign))))
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), width / columns - sign, _SMALL))
    if handles:
        style: dict[str, Any] = {"frameon": False, "columnspacing": 1.0, "alignment": "left", "title_fontsize": _SMALL}
        figure.legend(handles=handles, loc="outside lower left", ncols=columns, title=title or None, **style)
        _grow(figure, bool(title))
        rows = -(-len(handles) // columns)
        columns_of = [handles[at : at + rows] for at in range(0, len(handles), rows)]
        _grow(figure, max(sum(str(one.get_label()).count("\n") + 1 for one in several) for several in columns_of))


def plain_axes(axes: Axes) -> None:
    """Give the axes a light grid and no frame above and to the right."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def label_magnitudes(axis: Axis, title: str, largest: float, units: Sequence[str] = BYTES) -> None:
    """Number an axis in one of the units, each 1000 times the one before, and write it in brackets into the label."""
    from matplotlib.ticker import FuncFormatter

    power = max((at for at in range(len(units)) if largest >= 1000**at), default=0)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000**power:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axis.set_label_text(f"{title} ({units[power]})" if units[power] else title)


def label_sizes(axes: Axes, sizes: Sequence[float], is_shifted: bool) -> None:
    """Limit, number and label the x axis for sizes in bytes; ``is_shifted`` if some marks are not drawn in place."""
    largest = max(sizes)
    if spread_out(axes.xaxis, sizes, _LOG_SIZES_FROM):
        axes.set_xlim(min(sizes) / 1.3, 1.2 * largest)
    else:
        axes.set_xlim(0, 1.1 * largest)
    label_magnitudes(axes.xaxis, "size on disk", largest)
    if is_shifted:
        axes.set_xlabel(f"{axes.get_xlabel()}; equal sizes side by side")


def spread_out(axis: Axis, values: Sequence[float], at_least: float = _LOG_FROM) -> bool:
    """Make an axis logarithmic if the largest value is so many times the smallest, and most would coincide otherwise.

    Returns:
        whether it is logarithmic.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = min(values), max(values)
    if low <= 0 or high <= at_least * low:
        return False
    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    return True


def shifted(axes: Axes, points: float) -> Transform:
    """Return the transform that draws data of the axes some points to the right of its place."""
    from matplotlib.transforms import offset_copy

    return offset_copy(axes.transData, axes.get_figure(root=True), x=points, units="points")


class SeriesStyles:
    """The colours and markers of the lines of a group.

    Colours are by the name of the system if that is needed, and the first setting in which the jobs differ, other than
    the ratio; markers by all the other settings, or also as the colours if there are no others.

    Attributes:
        is_named: whether colours are by name: there are several, or no such setting.
        colour_values: the names and values that have a colour, in words.
        marker_values: the combinations of the others.
    """

    def __init__(self, group: Group, lines: Sequence[TableLine]) -> None:
        keys = [key for key in group.keys if key != RATIO]
        self._colour_keys, self._marker_keys = keys[:1], keys[1:]
        self.is_named = not keys or len({line.name for line in lines}) > 1
        self.colour_values = list(dict.fromkeys(map(self.colour_value, lines)))
        self.marker_values = list(dict.fromkeys(map(self.marker_value, lines)))

    def colour_value(self, line: TableLine) -> str:
        settings = [format_setting(line.settings[key]) for key in self._colour_keys]
        return ", ".join([line.name] * self.is_named + settings)

    def marker_value(self, line: TableLine) -> str:
        return ", ".join(format_setting(line.settings[key]) for key in self._marker_keys)

    def colour(self, line: TableLine) -> str:
        return colour(self.colour_values.index(self.colour_value(line)))

    def marker(self, line: TableLine) -> str:
        if self._marker_keys:
            return marker(self.marker_values.index(self.marker_value(line)))
        return marker(self.colour_values.index(self.colour_value(line)))

    def shift(self, line: TableLine) -> float:
        """Return how many points to the right a mark is drawn, so that colours do not cover one another."""
        at = self.colour_values.index(self.colour_value(line))
        return _SHIFT * (at - (len(self.colour_values) - 1) / 2)

    def colour_handles(self) -> list[Any]:
        signs = "o" * len(self.colour_values) if self._marker_keys else MARKERS
        values = enumerate(self.colour_values)
        return [legend_handle(signs[at % len(signs)], one, color=colour(at)) for at, one in values]

    def marker_handles(self) -> list[Any]:
        values = enumerate(self.marker_values)
        return [legend_handle(marker(at), one, mfc="white", color="black") for at, one in values if one]


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def legend_handle(marker: str, label: str, **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, label=label, **{"ls": "", **style})

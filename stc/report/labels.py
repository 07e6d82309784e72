"""Names beside the marks of a plot, put where they cover neither marks nor one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DISTANCES = (8, 14, 22, 32, 44, 58)  # points of paper from the mark
_BESIDE = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))  # right, up
_ABOVE = ((-1, 1), (0, 1), (-1, 0), (1, 1), (1, 0), (-1, -1), (1, -1), (0, -1))
_MARK = 4.5  # points from the middle of a mark to its edge


@dataclass(frozen=True)
class Label:
    """A mark at (x, y), drawn ``shift`` points to the right of there, and its name, which is in bold and rather above
    than beside it if ``strong``. A mark without a name is only in the way of others' names."""

    x: float
    y: float
    shift: float = 0.0
    text: str = ""
    strong: bool = False


def place(figure: Figure, axes: Axes, labels: Sequence[Label], lines: Sequence[tuple[float, float]]) -> None:
    """Write each name at the nearest free place, with a line to its mark where that is not beside it. A name for which
    there is none within the axes is left out.

    Args:
        lines: the corners of what goes straight across and straight up and is not to be written on.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # places are known once the layout is
    scale = figure.dpi / 72
    middles = [np.add(axes.transData.transform((one.x, one.y)), (one.shift * scale, 0)) for one in labels]
    reach = _MARK * scale
    marks = [Bbox([middle - reach, middle + reach]) for middle in middles]
    corners = axes.transData.transform(lines)
    taken = [Bbox([np.minimum(*ends), np.maximum(*ends)]) for ends in pairwise(corners)]
    written: list[Bbox] = []
    leaders: list[Any] = []  # points along the lines from names to marks
    inside = axes.get_window_extent(renderer)
    for at in sorted(range(len(labels)), key=lambda at: not labels[at].strong):
        one, middle = labels[at], middles[at]
        if not one.text:
            continue
        others = [*marks[:at], *marks[at + 1 :], *written]
        for distance, (right, up) in product(_DISTANCES, _ABOVE if one.strong else _BESIDE):
            text = axes.annotate(
                one.text,
                (one.x, one.y),
                xytext=(one.shift + right * distance, up * distance),
                textcoords="offset points",
                ha={1: "left", 0: "center", -1: "right"}[right],
                va={1: "bottom", 0: "center", -1: "top"}[up],
                fontsize=8,
                fontweight="bold" if one.strong else "normal",
                zorder=4,
            )
            box = text.get_window_extent(renderer)
            points = 25 if distance > _DISTANCES[0] else 0
            leader = np.linspace(middle, np.clip(middle, box.min, box.max), points)
            if (
                inside.contains(*box.min)
                and inside.contains(*box.max)
                and not any(box.overlaps(other) for other in [*taken, *marks, *written])
                and not any(other.contains(*point) for other in others for point in leader[1:])
                and not any(box.contains(*point) for point in leaders)
            ):
                written.append(box)
                leaders.extend(leader)
                if points:
                    ends = axes.transData.inverted().transform(leader[[0, -1]])
                    axes.plot(*ends.T, color="#999999", lw=0.6, zorder=1)
                break
            text.remove()

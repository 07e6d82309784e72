"""Retention with its intervals: over the ratio of layers removed, and by the rows and columns of a pivot."""

from __future__ import annotations

from pathlib import Path

from stc.report.look import CONTROL, RATIO, Look, bars_are, colour, shape, spread
from stc.report.pivot import Pivot, cell_value
from stc.report.run_plots import canvas, plain_axes
from stc.report.sweep import Group, TableLine


def ratios(group: Group) -> list[float]:
    """The shares of layers removed, in percent, that a group has retentions of."""
    return sorted({_ratio(line) for line in _with_ratio(group)})


def _with_ratio(group: Group) -> list[TableLine]:
    return [
        line
        for line in group.lines
        if not line.control
        and line.row["retention"] is not None
        and isinstance(line.settings.get(RATIO), int | float)  # layers that were named have none
    ]


def _ratio(line: TableLine) -> float:
    return 100 * float(line.settings[RATIO])


def plot_ratio(path: Path, title: str, group: Group) -> Path:
    """Retention over the ratio removed: colours by the first of the other settings, a panel for each combination of
    the rest."""
    from matplotlib.transforms import ScaledTranslation

    lines = sorted(_with_ratio(group), key=_ratio)
    look = Look(group, lines)
    across = min(3, len(look.rests))
    down = -(-len(look.rests) // across)
    with canvas(path, (2.6 + 3.2 * across, 1.5 + 2.8 * down), vector=True) as figure:
        panels = list(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat)
        for axes in panels:
            axes.set_axis_off()
        for axes, rest in zip(panels, look.rests, strict=False):
            axes.set_axis_on()
            axes.axhline(100, color=CONTROL, ls="--", lw=1)
            for first in look.firsts:
                here = [line for line in lines if (look.first(line), look.rest(line)) == (first, rest)]
                if not here:
                    continue
                axes.errorbar(
                    [_ratio(line) for line in here],
                    [100 * line.row["retention"] for line in here],
                    yerr=list(zip(*(spread(line, "retention", 100) for line in here), strict=True)),
                    fmt="o-",
                    color=look.colour(here[0]),
                    capsize=2,
                    markersize=5,
                    elinewidth=1,
                    transform=axes.transData + ScaledTranslation(look.shift(here[0]) / 72, 0, figure.dpi_scale_trans),
                )
            plain_axes(axes)
            axes.set_title(rest, fontsize=10)
            axes.set_xlabel("layers removed, %")
            axes.tick_params(labelbottom=True)
        for axes in panels[::across]:
            axes.set_ylabel("retention, %")
        # What is drawn beside its place is not seen by autoscaling.
        ticks = ratios(group)
        edge = 0.2 * (ticks[-1] - ticks[0])
        panels[0].set_xlim(ticks[0] - edge, ticks[-1] + edge)
        panels[0].set_xticks(ticks, [f"{ratio:g}" for ratio in ticks])
        reach = [(100 * line.row["retention"], *spread(line, "retention", 100)) for line in lines]
        low, high = min(value - below for value, below, _ in reach), max(value + above for value, _, above in reach)
        margin = 0.05 * (max(high, 100) - low) or 1.0
        panels[0].set_ylim(low - margin, max(high, 100) + margin)
        figure.suptitle(f"{title}\n100 %: {group.reference_name}. {bars_are(group)}", fontsize=11)
        if look.firsts != [""]:
            figure.legend(handles=look.colours(), loc="outside right upper", frameon=False, fontsize=8)
    return path


def plot_pivot(path: Path, title: str, pivot: Pivot) -> Path:
    """A dot a cell: a line of the plot a row, a colour and shape a column, with intervals where there are any."""
    group, key = pivot.group, pivot.value
    scale = 100 if key == "retention" else 1
    barred = key in ("retention", group.metric) or len(group.seeds) > 1
    gap = 0.8 / len(pivot.columns)
    height = max(2.6, 1.6 + len(pivot.rows) * max(0.45, 0.17 * len(pivot.columns)))
    with canvas(path, (9.0, height), vector=True) as figure:
        axes = figure.subplots()
        if key == "retention":
            axes.axvline(100, color=CONTROL, ls="--", lw=1)
        for border in range(1, len(pivot.rows)):
            axes.axhline(border - 0.5, color="#DDDDDD", lw=0.8)
        for number, column in enumerate(pivot.columns):
            cells = [(at, pivot.cells.get((row, column))) for at, row in enumerate(pivot.rows)]
            shown = [(at, line) for at, line in cells if line is not None and line.row.get(key) is not None]
            spreads = [spread(line, key, scale) for _, line in shown]
            axes.errorbar(
                [scale * line.row[key] for _, line in shown],
                [at + gap * (number - (len(pivot.columns) - 1) / 2) for at, _ in shown],
                xerr=list(zip(*spreads, strict=True)) if barred and spreads else None,
                fmt=shape(number),
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
        bars = f"\n{bars_are(group)}" if barred else ""
        axes.set_title(f"{pivot.system}: {title}{bars}", fontsize=11)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return path

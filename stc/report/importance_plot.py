"""The plot of a search for layers: how much each layer matters, and which were removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.metrics.selection_metric import LOSS, goodness, title_of
from stc.report.plot_style import (
    COLOURS,
    COLUMN,
    PAGE,
    canvas,
    legend_below,
    legend_handle,
    plain_axes,
    set_title,
    spread_out,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Layer = tuple[str, int]
"""Stack and number of a layer, or of the first layer of a block."""

_COLUMN_LAYERS = 10  # more are drawn as wide as the page
_CELL_TEXT = 5.5  # points
_REMOVED = COLOURS[5]


def plot_importance(path: Path, title: str, rankings: Sequence[Mapping[str, Any]], vector: bool = False) -> Path:
    """Draw a heat map of the rounds of a search by layer, or the values by layer if there was one round.

    Args:
        rankings: of each round, as in ranking.json. Layers of the encoder are to the right of the decoder's.
    """
    rounds = [_candidates(ranking) for ranking in rankings]
    layers = sorted({layer for found in rounds for layer in found}, key=lambda layer: (layer[0] != "decoder", layer))
    draw = _draw_values if len(rounds) == 1 else _draw_rounds
    wide = len(rounds) > 1 and len(layers) > _COLUMN_LAYERS
    width, height = (PAGE if wide else COLUMN), (max(1.3, 0.6 + 0.2 * len(rounds)) if len(rounds) > 1 else 2.2)
    with canvas(path, (width, height), vector) as figure:
        axes = figure.subplots()
        draw(figure, axes, rankings, rounds, layers)
        meanings = ["Frame: removed in this round; hatched: removed before."] if len(rounds) > 1 else []
        meanings += ["Blank: screened out by the loss."] if any("screen" in ranking for ranking in rankings) else []
        set_title(figure, f"Importance of layers: {title}", " ".join([*meanings, "Protected layers are not shown."]))
        _label_layers(axes, rankings[-1], layers, width)
    return path


def _draw_values(
    figure: Figure,
    axes: Axes,
    rankings: Sequence[Mapping[str, Any]],
    rounds: Sequence[Mapping[_Layer, float]],
    layers: Sequence[_Layer],
) -> None:
    """Draw the values of one round as a curve, with the removed layers marked."""
    (ranking,), (found,) = rankings, rounds
    removed = _removed(ranking, found)
    what = "removed: the block that starts here" if _criterion(ranking) == "distance" else "removed"
    values = [found.get(layer, math.nan) for layer in layers]
    for stack in dict.fromkeys(stack for stack, _ in layers):
        places = [at for at, layer in enumerate(layers) if layer[0] == stack]
        axes.plot(places, [values[at] for at in places], color="#BBBBBB", zorder=1)
    signs: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("o", "kept", {"color": COLOURS[0], "mfc": "white"}),
        ("s", what, {"color": _REMOVED}),
    )
    handles = []
    for is_removed, (sign, name, style) in enumerate(signs):
        places = [at for at, layer in enumerate(layers) if (layer in removed) == bool(is_removed)]
        axes.plot(places, [values[at] for at in places], sign, **style)
        handles.append(legend_handle(sign, name, **style))
    plain_axes(axes)
    spread_out(axes.yaxis, [value for value in values if not math.isnan(value)])
    axes.set_ylabel(wrapped(_value_title(ranking), 1.4))
    legend_below(figure, handles)


def _draw_rounds(
    figure: Figure,
    axes: Axes,
    rankings: Sequence[Mapping[str, Any]],
    rounds: Sequence[Mapping[_Layer, float]],
    layers: Sequence[_Layer],
) -> None:
    """Draw a heat map, in which bright is what hurts least."""
    import numpy as np
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    metric = rankings[-1]["metric"]
    digits = 3 if metric == LOSS else 1
    grid = np.array([[found.get(layer, math.nan) for layer in layers] for found in rounds])
    image = axes.imshow(grid, cmap="viridis_r" if goodness(metric, 1) < 0 else "viridis", aspect="auto")
    brightness = image.to_rgba(grid) @ (0.3, 0.6, 0.1, 0)
    texts = {(row, layer): f"{value:.{digits}f}" for row, found in enumerate(rounds) for layer, value in found.items()}
    room = 72 * (float(figure.get_figwidth()) - 1.2) / len(layers)
    is_numbered = max(map(len, texts.values())) * 0.66 * _CELL_TEXT < room
    for row, (ranking, found) in enumerate(zip(rankings, rounds, strict=True)):
        removed = _removed(ranking, found)
        for column, layer in enumerate(layers):
            if layer not in found:
                hatched: Any = {"facecolor": "#EEEEEE", "edgecolor": "#BBBBBB", "hatch": "//////", "lw": 0}
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
                continue
            if is_numbered and not math.isnan(found[layer]):
                ink = "black" if brightness[row, column] > 0.5 else "white"
                axes.text(column, row, texts[row, layer], ha="center", va="center", fontsize=_CELL_TEXT, color=ink)
            if layer in removed:
                frame: Any = {"fill": False, "edgecolor": "black", "lw": 1.2, "zorder": 3}
                outline = [withStroke(linewidth=2.8, foreground="white")]
                axes.add_patch(Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, path_effects=outline, **frame))
    last = len(rankings[-1]["order"]) + len(rankings[-1].get("encoder_order", []))
    step = -(-len(grid) // 16)
    numbers = range(last - len(grid) + 1, last + 1)
    axes.set_yticks(range(0, len(grid), step), [str(number) for number in numbers[::step]])
    axes.set_ylabel("round")
    label = wrapped(_value_title(rankings[-1]), figure.get_figheight() - 0.5)
    figure.colorbar(image, label=label, pad=0.02, fraction=0.05)


def _label_layers(axes: Axes, ranking: Mapping[str, Any], layers: Sequence[_Layer], width: float) -> None:
    """Number the layers as far as there is room, and say how they are numbered."""
    names = [str(number) if stack == "decoder" else f"e{number}" for stack, number in layers]
    room = 72 * (width - 1.2) / len(layers)  # points
    step = next(step for step in (1, 2, 5, 10, 20, 50) if room * step > 5 + 4.5 * max(map(len, names)))
    shown = [at for at, (_, number) in enumerate(layers) if number % step == 0]
    axes.set_xticks(shown, [names[at] for at in shown])
    axes.set_xlim(-0.5, len(layers) - 0.5)
    stacks = [stack for stack, _ in layers]
    if len(set(stacks)) > 1:
        axes.axvline(stacks.index("encoder") - 0.5, color="black", lw=0.8)
    stack = "decoder layer" if "encoder" not in stacks else "layer (e: of the encoder)"
    lengths = dict.fromkeys(str(one["layers"]) for one in ranking["candidates"] if "layers" in one)
    block = f"first {stack} of a block of {' or '.join(lengths)}" if lengths else stack
    axes.set_xlabel(wrapped(f"{block}, counted from 0 in the unpruned model", width - 0.8))


def _candidates(ranking: Mapping[str, Any]) -> dict[_Layer, float]:
    """Return layer → its figure, NaN if it was screened out."""
    key = _criterion(ranking)
    return {
        (one["stack"], one["first"] if key == "distance" else one["layer"]): math.nan if one[key] is None else one[key]
        for one in ranking["candidates"]
    }


def _criterion(ranking: Mapping[str, Any]) -> str:
    """Return the key of the candidates' figure."""
    return next((key for key in ("influence", "distance") if key in ranking["candidates"][0]), "score")


def _value_title(ranking: Mapping[str, Any]) -> str:
    """Return what the figures are, with their unit."""
    key = _criterion(ranking)
    if key == "influence":
        return "block influence (1 − cosine)"
    if key == "distance":
        return "angular distance (units of π)"
    metric = ranking["metric"]
    return f"{'loss (nats a token)' if metric == LOSS else title_of(metric)} without the layer"


def _removed(ranking: Mapping[str, Any], found: Mapping[_Layer, float]) -> set[_Layer]:
    """Return which of the candidates the ranking removes; in a round of a search that is one."""
    if _criterion(ranking) == "distance":
        return {min((layer for layer in found if layer[0] == stack), key=found.__getitem__) for stack, _ in found}
    orders = {"decoder": ranking["order"], "encoder": ranking.get("encoder_order", [])}
    return {(stack, layer) for stack, layer in found if layer in orders[stack]}

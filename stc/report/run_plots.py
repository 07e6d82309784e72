"""The plots of a run, as PNG; those of a sweep are in ``sweep_plots``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.selection_metric import LOSS, title_of
from stc.pipeline.logged_curves import Curves
from stc.report.plot_style import COLOURS, canvas, colour, label_quality_axes, marker, plain_axes, shifted
from stc.report.stored_results import read_searches
from stc.store.artifact import Kind
from stc.system.number_formats import format_bytes

if TYPE_CHECKING:
    from stc.pipeline.runner import NodeResult

_SHIFT = 9.0  # points between the marks of systems of the same size
_LOG_FROM = 20.0  # use a logarithmic axis if the largest system is this many times the smallest


@dataclass(frozen=True)
class PlottedSystem:
    """A system in the plot of quality: its size in bytes, its score, and the ends of its error bar."""

    name: str
    bytes: float
    score: float
    low: float
    high: float


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
        metric = compared["metric"]
        marks = [
            PlottedSystem(row["name"], row["bytes_on_disk"], score := row[metric], *(row["score_ci"] or (score, score)))
            for row in systems
        ]
        bars = describe_intervals(compared["confidence"], compared["sentences"])
        files.append(plot_quality(folder / "quality.png", title, metric_named(metric).heading, marks, bars))
    return files


def describe_intervals(confidence: float, sentences: int) -> str:
    """Return a sentence that says what error bars are intervals of, or why there are none."""
    bars = f"Bars: {100 * confidence:g} % bootstrap interval." if enough_sentences(sentences) else ""
    return " ".join(filter(None, [bars, sample_size_note(sentences)]))


def plot_seeds(folder: Path, title: str, systems: Sequence[Mapping[str, Any]], seeds: int) -> list[Path]:
    """Draw quality against size over several seeds.

    Args:
        systems: as :func:`stc.report.run_table.aggregate_seeds` returns them.
        seeds: how many there were.
    """
    if not systems:
        return []
    metric = systems[0]["metric"]
    marks = []
    for row in systems:
        score, deviation = row[metric], row[f"{metric}_deviation"] or 0.0
        marks.append(PlottedSystem(row["name"], row["bytes_on_disk"], score, score - deviation, score + deviation))
    bars = f"Bars: standard deviation over {seeds} seeds."
    return [plot_quality(folder / "quality.png", title, metric_named(metric).heading, marks, bars)]


def plot_importance(path: Path, title: str, rankings: Sequence[Mapping[str, Any]], vector: bool = False) -> Path:
    """Draw a heat map of the rounds of a search by layer.

    The layer removed in a round has a frame, and is hatched in the rounds after it. A layer that was screened out is
    blank. Layers of the encoder are to the right of the decoder's, with an e before their number.
    """
    from matplotlib.patches import Rectangle

    figures = [_candidates(ranking) for ranking in rankings]
    layers = sorted({layer for found in figures for layer in found}, key=lambda layer: (layer[0] != "decoder", layer))
    key, label = _criterion(rankings[-1])
    digits = 1 if key == "score" and rankings[-1]["metric"] != LOSS else 3
    grid = [[found.get(layer, math.nan) for layer in layers] for found in figures]
    with canvas(path, (max(8.5, 1.9 + 0.5 * len(layers)), max(2.8, 1.9 + 0.4 * len(grid))), vector) as figure:
        axes = figure.subplots()
        image = axes.imshow(grid, cmap="viridis", aspect="auto")
        middle = sum(image.get_clim()) / 2
        for row, (ranking, found) in enumerate(zip(rankings, figures, strict=True)):
            removed = _removed(ranking, found)
            for column, layer in enumerate(layers):
                if layer not in found:
                    hatched: Any = {"facecolor": "#EEEEEE", "edgecolor": "#BBBBBB", "hatch": "////", "lw": 0}
                    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
                elif not math.isnan(found[layer]):
                    ink = "black" if found[layer] > middle else "white"
                    figure_text = f"{found[layer]:.{digits}f}"
                    axes.text(column, row, figure_text, ha="center", va="center", fontsize=7, color=ink)
                    if layer in removed:
                        frame: Any = {"fill": False, "edgecolor": COLOURS[1], "lw": 2.5}
                        axes.add_patch(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **frame))
        names = [str(number) if stack == "decoder" else f"e{number}" for stack, number in layers]
        axes.set_xticks(range(len(layers)), names)
        last = len(rankings[-1]["order"]) + len(rankings[-1].get("encoder_order", []))
        first = last - len(grid) + 1
        rounds = [str(first + row) for row in range(len(grid))] if key == "score" else [""]
        axes.set_yticks(range(len(grid)), rounds)
        axes.set_xlabel("layer (numbered as in the unpruned model; the protected ones are not shown)")
        axes.set_ylabel("round" if key == "score" else "")
        hatched_are = "; hatched: removed before" if len(grid) > 1 else ""
        blank_are = "; blank: screened out" if any("screen" in ranking for ranking in rankings) else ""
        framed_are = "where the block that was removed starts" if key == "distance" else "removed"
        axes.set_title(f"Importance of layers: {title}\nframed: {framed_are}{hatched_are}{blank_are}")
        figure.colorbar(image, label=label)
    return path


def _candidates(ranking: Mapping[str, Any]) -> dict[tuple[str, int], float]:
    """Return (stack, layer) → its figure, NaN if it was screened out. A block has the number of its first layer."""
    key, _ = _criterion(ranking)
    return {
        (one["stack"], one["first"] if key == "distance" else one["layer"]): math.nan if one[key] is None else one[key]
        for one in ranking["candidates"]
    }


def _criterion(ranking: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key of the candidates' figure, and a name for it."""
    candidate = ranking["candidates"][0]
    if "influence" in candidate:
        return "influence", "block influence"
    if "distance" in candidate:
        return "distance", f"angular distance ({candidate['layers']} layers)"
    return "score", f"{title_of(ranking['metric'])} without the layer"


def _removed(ranking: Mapping[str, Any], found: Mapping[tuple[str, int], float]) -> set[tuple[str, int]]:
    """Return which of the candidates the ranking removes; in a round of a search that is one."""
    if _criterion(ranking)[0] == "distance":
        return {min((layer for layer in found if layer[0] == stack), key=found.__getitem__) for stack, _ in found}
    orders = {"decoder": ranking["order"], "encoder": ranking.get("encoder_order", [])}
    return {(stack, layer) for stack, layer in found if layer in orders[stack]}


def plot_quality(path: Path, title: str, metric: str, marks: Sequence[PlottedSystem], bars: str) -> Path:
    """Draw quality against bytes on disk. ``bars`` says what the error bars are, or why there are none."""
    largest, smallest = max(mark.bytes for mark in marks), min(mark.bytes for mark in marks)
    with canvas(path, (7.5, 4.8)) as figure:
        axes = figure.subplots()
        if largest > _LOG_FROM * smallest:
            axes.set_xscale("log")
            axes.set_xlim(smallest / 1.5, 1.5 * largest)
        else:
            axes.set_xlim(0, 1.08 * largest)
        bottom, top = min(mark.low for mark in marks), max(mark.high for mark in marks)
        margin = 0.06 * (top - bottom) or 1.0
        axes.set_ylim(bottom - margin, top + margin)  # matplotlib does not see marks that are drawn shifted
        for number, mark in enumerate(marks):
            neighbours = [other for other in marks if 0.98 < other.bytes / mark.bytes < 1.02]
            axes.errorbar(
                mark.bytes,
                mark.score,
                yerr=[[max(0.0, mark.score - mark.low)], [max(0.0, mark.high - mark.score)]],
                fmt=marker(number),
                color=colour(number),
                capsize=3,
                markersize=7,
                label=f"{mark.name}: {format_bytes(mark.bytes)}, {mark.score:.1f}",
                transform=shifted(axes, _SHIFT * (neighbours.index(mark) - (len(neighbours) - 1) / 2)),
            )
        label_quality_axes(axes, metric)
        axes.set_title(f"Quality against size: {title}\n{bars}")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return path


def plot_training(path: Path, title: str, trained: Mapping[str, Curves], dev: Mapping[str, float]) -> Path:
    """Draw the loss over the steps of every training.

    Args:
        trained: name of a stage → its curves, ``loss`` among them.
        dev: name of a stage → the loss on held-out data at its end.
    """
    columns = min(3, len(trained))
    rows = math.ceil(len(trained) / columns)
    with canvas(path, (0.6 + 3.6 * columns, 0.9 + 2.7 * rows)) as figure:
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for number, (axes, (name, curves)) in enumerate(zip(grid, trained.items(), strict=False)):
            steps, losses = zip(*curves["loss"], strict=True)
            axes.plot(steps, losses, color=COLOURS[0], marker="." if len(steps) <= 40 else "", label="training")
            if name in dev:
                axes.plot(steps[-1], dev[name], "D", color=COLOURS[1], label=f"dev, at the end: {dev[name]:.3f}")
            plain_axes(axes)
            axes.set_xlim(left=0)
            axes.set_title(name)
            axes.set_xlabel("step")
            if number % columns == 0:
                axes.set_ylabel("loss per token (nats)")
            axes.legend(frameon=False, fontsize=8)
        for axes in grid[len(trained) :]:
            axes.set_axis_off()
        figure.suptitle(f"Training: {title}")
    return path

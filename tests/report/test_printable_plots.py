"""What every plot has in common: it can be printed as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from stc.report.importance_plot import plot_importance
from stc.report.plot_style import COLUMN, PAGE
from stc.report.run_plots import plot_run, plot_training
from stc.report.sweep_report import render

LONG = "a_name_that_somebody_chose_without_a_thought_of_columns"
TITLE = f"{LONG}, German, 50 % of layers removed, greedy"


def shown_texts(figure: Figure) -> list[Text]:
    """Every text that a reader sees: matplotlib also has labels of ticks that are outside the limits."""
    shown: list[Text] = []
    draw = Text.draw

    def seen(text: Text, *arguments: Any, **more: Any) -> None:
        if text.get_visible() and text.get_text().strip() and text not in shown:
            shown.append(text)
        draw(text, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", seen)
        figure.draw_without_rendering()
    return shown


def search_of(layers: int, rounds: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "metric": "chrf_pp",
            "order": list(range(1, 2 + at)),
            "candidates": [
                {"stack": "decoder", "layer": layer, "score": 99.0 - layer - at} for layer in range(1 + at, layers)
            ],
            **more,
        }
        for at in range(rounds)
    ]


def blocks(path: Path) -> None:
    candidates = [{"stack": "decoder", "first": at, "layers": 8, "distance": at / 20} for at in range(1, 24)]
    plot_importance(path / "blocks.png", TITLE, [{"order": list(range(1, 9)), "candidates": candidates}])


def quality(path: Path) -> None:
    compared = {"metric": "chrf_pp", "confidence": 0.95, "sentences": 40, "reference": LONG}
    figures = {"chrf_pp": 50.0, "retention": 0.98, "retention_ci": [0.96, 0.99], "compared": compared}
    rows = [
        {"name": f"{LONG}-{number}", "bytes_on_disk": 16e9 / (1 + number // 2), "params": 7 - number, **figures}
        for number in range(6)
    ]
    plot_run(path, TITLE, rows, [])


def training(path: Path) -> None:
    curves = {f"{LONG}_{number}": {"loss": [[10, 3.0], [1000, 0.01 + number]]} for number in range(4)}
    plot_training(path / "training.png", TITLE, curves, dict.fromkeys(curves, 0.1))


PLOTS: dict[str, Callable[[Path], object]] = {
    "search of a small model": lambda path: plot_importance(path / "a.png", TITLE, search_of(7, 4)),
    "search of a large model": lambda path: plot_importance(path / "b.png", TITLE, search_of(31, 16)),
    "one round": lambda path: plot_importance(path / "c.png", TITLE, search_of(31, 1)),
    "blocks": blocks,
    "quality": quality,
    "training": training,
}


def check(figure: Figure) -> None:
    """The figure is as wide as a column or a page, and each text is within it, beside the others, and no path."""
    assert figure.get_figwidth() in (COLUMN, PAGE)
    texts = shown_texts(figure)
    assert texts
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert figure.bbox.padded(1).contains(*box.min), text
        assert figure.bbox.padded(1).contains(*box.max), text
        assert not re.search(r"(^|\s)/\w|[0-9a-f]{12}", text.get_text())
    for (one, box), (two, other) in combinations(zip(texts, boxes, strict=True), 2):
        assert not box.padded(-1).overlaps(other.padded(-1)), (one, two)


@pytest.mark.parametrize("name", PLOTS)
def test_texts_of_the_plots_of_a_run_are_within_the_figure_and_do_not_overlap(
    name: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    PLOTS[name](tmp_path)
    (figure,) = drawn
    check(figure)


@pytest.mark.parametrize("sentences", [100, 20])
def test_texts_of_the_plots_of_a_sweep_are_within_the_figure_and_do_not_overlap(
    sentences: int, sweep: Any, tmp_path: Path, drawn: list[Figure]
) -> None:
    sweep.sentences = sentences
    for ratio in (0.25, 0.5, 0.75):
        for prune, wrong in (("greedy", 1), (LONG, 2)):
            for finetune in ("full", LONG):
                systems = {"teacher": 0, f"healed-{LONG}": 1, "pruned-nf4": wrong + round(10 * ratio)}
                job = sweep.add(systems, prune=prune, finetune=finetune, prune__ratio=ratio, model__name="a-model")
    sweep.search(job, search_of(15, 8))
    render(sweep.folder, pivot=("prune", "finetune")).plots(tmp_path / "plots")
    assert len(drawn) == 6  # front, ratio, search, and a pivot for each ratio
    for figure in drawn:
        check(figure)


def test_title_names_model_language_and_ratio(sweep: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    for ratio in (0.25, 0.5):
        sweep.add({"teacher": 1, "pruned-nf4": 8}, prune__ratio=ratio, model__name="a-model")
    render(sweep.folder, pivot=("ratio", "model.name")).plots(tmp_path)
    assert len(drawn) == 3
    for figure in drawn:
        title = figure.get_suptitle().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")
        assert "a-model, German, 25 and 50 % of layers removed" in title


@pytest.mark.parametrize(
    ("value", "unit"),
    [("bytes_on_disk", "(MB)"), ("peak_memory_bytes", "(MB)"), ("params", "(millions)"), ("rtf", "seconds a second")],
)
def test_axis_of_a_pivot_says_its_unit(value: str, unit: str, four: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    render(four.folder, pivot=("prune", "finetune", value)).plots(tmp_path)
    assert unit in drawn[-1].axes[0].get_xlabel()

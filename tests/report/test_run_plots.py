"""The plots of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.pipeline.runner import NodeResult
from stc.report import plot_style, run_plots
from stc.report.run_plots import PlottedSystem, plot_importance, plot_quality, plot_run, plot_seeds, plot_training
from stc.store.artifact import Artifact, Kind

SYSTEMS = [
    {
        "name": name,
        "bytes_on_disk": size,
        "chrf": score,
        "score_ci": [score - 2, score + 1],
        "compared": {"metric": "chrf", "confidence": 0.95, "sentences": 300},
    }
    for name, size, score in (("teacher", 20e6, 90.0), ("教师 $x_1$", 8e6, 89.0), ("healed", 8e6, 91.0))
]


def scored(layer: int, score: float) -> dict[str, Any]:
    return {"stack": "decoder", "layer": layer, "score": score}


RANKINGS = [
    {"metric": "chrf", "order": [2], "candidates": [scored(layer, 50.0 + layer) for layer in (1, 2, 3)]},
    {"metric": "chrf", "order": [2, 1], "candidates": [scored(layer, 40.0 - layer) for layer in (1, 3)]},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    original = plot_style.canvas

    @contextmanager
    def seen(*arguments: Any) -> Iterator[Figure]:
        with original(*arguments) as figure:
            yield figure
            figures.append(figure)

    monkeypatch.setattr(run_plots, "canvas", seen)
    return figures


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def done(folder: Path, name: str, kind: Kind, **more: Any) -> NodeResult:
    path = folder / name
    path.mkdir()
    return NodeResult(name, Artifact(kind, path, name, more.pop("facts", {})), True, 1.0, **more)


def test_run_is_drawn_from_the_store(tmp_path: Path) -> None:
    rounds = [done(tmp_path, f"importance.{number}", Kind.RANKING) for number in (1, 2)]
    for one, ranking in zip(rounds, RANKINGS, strict=True):
        (one.artifact.path / "ranking.json").write_text(json.dumps(ranking))
    heal = done(tmp_path, "heal", Kind.MODEL, facts={"dev_loss": 0.5}, curves={"loss": [[10, 2.0], [20, 1.0]]})
    files = plot_run(tmp_path / "plots", "a run", SYSTEMS, [*rounds, heal])
    assert [file.name for file in files] == ["importance.png", "training.png", "quality.png"]
    assert all(map(is_png, files))


def test_plots_without_data_are_not_drawn(tmp_path: Path) -> None:
    gone = done(tmp_path, "importance.1", Kind.RANKING)  # its files were removed from the store
    assert plot_run(tmp_path / "plots", "a run", [], [gone, done(tmp_path, "base", Kind.MODEL)]) == []
    assert plot_seeds(tmp_path / "plots", "a run", [], 3) == []


def test_layer_that_was_screened_out_is_blank(tmp_path: Path, drawn: list[Figure]) -> None:
    screened = {**RANKINGS[0], "screen": {"kept": 2, "signature": "a loss"}}
    losses = zip(screened["candidates"], (1.0, 2.0, 3.0), strict=True)
    screened["candidates"] = [
        {**one, "loss": loss, "score": one["score"] if loss < 3 else None} for one, loss in losses
    ]
    plot_importance(tmp_path / "importance.png", "a run", [screened])
    axes = drawn[0].axes[0]
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [((0, 0), "51.0"), ((1, 0), "52.0")]
    assert [patch.get_fill() for patch in axes.patches] == [False]  # one frame, nothing hatched
    assert axes.images[0].get_array().mask.tolist() == [[False, False, True]]
    assert axes.get_title().endswith("blank: screened out")


def test_removed_layer_of_each_round_is_framed(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_importance(tmp_path / "importance.png", "a run", RANKINGS)
    axes = drawn[0].axes[0]
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    middles = [(patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2) for patch in frames]
    assert middles == [pytest.approx((1, 0)), pytest.approx((0, 1))]  # layer 2, round 1; layer 1, round 2
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "3"]
    assert {text.get_text() for text in axes.texts} == {"51.0", "52.0", "53.0", "39.0", "37.0"}


def test_encoder_layers_have_their_own_labels_and_one_layer_is_removed_a_round(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    both = [*(scored(layer, 2.0 - layer) for layer in (1, 2)), {"stack": "encoder", "layer": 1, "score": 0.5}]
    ranking = {"metric": "loss", "order": [], "encoder_order": [1], "candidates": both}
    plot_importance(tmp_path / "importance.png", "a run", [ranking])
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "e1"]
    (frame,) = [patch for patch in axes.patches if not patch.get_fill()]
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(2)


def test_block_is_framed_at_its_first_layer(tmp_path: Path, drawn: list[Figure]) -> None:
    blocks = [{"stack": "decoder", "first": at, "layers": 2, "distance": abs(at - 2) / 9} for at in (1, 2, 3)]
    layers = [{"stack": "decoder", "layer": at, "influence": at / 9} for at in (1, 2, 3)]
    rankings = [
        {"method": "angular", "order": [2, 3], "candidates": blocks},
        {"method": "block_influence", "order": [1, 2], "candidates": layers},
    ]
    for ranking in rankings:
        plot_importance(tmp_path / "importance.png", "a run", [ranking])
    framed = [[p.get_x() + 0.45 for p in figure.axes[0].patches if not p.get_fill()] for figure in drawn]
    assert framed == [[pytest.approx(1)], [pytest.approx(0), pytest.approx(1)]]


def test_layers_that_were_not_compared_are_not_drawn(tmp_path: Path) -> None:
    named = done(tmp_path, "importance", Kind.RANKING)
    (named.artifact.path / "ranking.json").write_text(json.dumps({"order": [1, 2], "layers_removed": [1, 2]}))
    assert plot_run(tmp_path / "plots", "a run", [], [named]) == []


def test_every_system_is_within_the_axes_and_named(tmp_path: Path, drawn: list[Figure]) -> None:
    marks = [
        PlottedSystem("a", 20e6, 90, 88, 91),
        PlottedSystem("b", 8e6, 89, 87, 90),
        PlottedSystem("c", 8e6, 60, 55, 66),
    ]
    plot_quality(tmp_path / "quality.png", "a run", "chrF", marks, "bars")
    axes = drawn[0].axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 8e6 < 20e6 < right
    assert bottom < 55 < 91 < top
    assert [text.get_text().split(":")[0] for text in drawn[0].legends[0].get_texts()] == ["a", "b", "c"]


@pytest.mark.parametrize(("largest", "scale"), [(20e6, "linear"), (16.8e9, "log")])
def test_sizes_of_different_magnitude_have_a_logarithmic_axis(
    largest: float, scale: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    marks = [PlottedSystem("a", largest, 90, 88, 91), PlottedSystem("b", 8e6, 89, 87, 90)]
    plot_quality(tmp_path / "quality.png", "a run", "chrF", marks, "bars")
    assert drawn[0].axes[0].get_xscale() == scale


def test_training_has_a_panel_for_each_stage_with_its_curve(tmp_path: Path, drawn: list[Figure]) -> None:
    trained = {name: {"loss": [[10, 2.0], [20, 1.0 + number]]} for number, name in enumerate("abcd")}
    plot_training(tmp_path / "training.png", "a run", trained, {"b": 0.7})
    panels = [axes for axes in drawn[0].axes if axes.axison]
    assert [axes.get_title() for axes in panels] == list("abcd")
    assert list(panels[1].lines[0].get_ydata()) == [2.0, 2.0]
    assert [list(axes.lines[-1].get_ydata()) for axes in panels][1] == [0.7]


def test_plots_of_seeds_have_deviations_as_bars(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "metric": "chrf", "bytes_on_disk": 8, "chrf": 50.0, "chrf_deviation": 2.0},
        {"name": "b", "metric": "chrf", "bytes_on_disk": 9, "chrf": 50.0, "chrf_deviation": None},
    ]
    assert all(map(is_png, plot_seeds(tmp_path / "plots", "a run", rows, 3)))


def test_module_imports_no_heavy_library() -> None:
    code = "import sys, stc.report.run_plots; assert not {'matplotlib', 'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

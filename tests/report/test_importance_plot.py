"""The plot of a search for layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.report.importance_plot import plot_importance


def scored(layer: int, score: float) -> dict[str, Any]:
    return {"stack": "decoder", "layer": layer, "score": score}


ROUNDS = [
    {"metric": "chrf", "order": [2], "candidates": [scored(layer, 50.0 + layer) for layer in (1, 2, 3)]},
    {"metric": "chrf", "order": [2, 1], "candidates": [scored(layer, 40.0 - layer) for layer in (1, 3)]},
]


def removed_places(figure: Figure) -> list[float]:
    """Where the marks of removed layers are, in a plot of one round."""
    (marks,) = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
    return list(marks.get_xdata())


def test_removed_layer_of_each_round_is_framed(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_importance(tmp_path / "importance.png", "a run", ROUNDS)
    axes = drawn[0].axes[0]
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    middles = [(patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2) for patch in frames]
    assert middles == [pytest.approx((1, 0)), pytest.approx((0, 1))]  # layer 2, round 1; layer 1, round 2
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "3"]
    assert {text.get_text() for text in axes.texts} == {"51.0", "52.0", "53.0", "39.0", "37.0"}


def test_layer_that_was_screened_out_is_blank(tmp_path: Path, drawn: list[Figure]) -> None:
    candidates = [{**one, "score": one["score"] if one["layer"] < 3 else None} for one in ROUNDS[0]["candidates"]]
    screened = {**ROUNDS[0], "screen": {"kept": 2, "signature": "a loss"}, "candidates": candidates}
    plot_importance(tmp_path / "importance.png", "a run", [screened, ROUNDS[1]])
    axes = drawn[0].axes[0]
    assert [text.get_position() for text in axes.texts if text.get_position()[1] == 0] == [(0, 0), (1, 0)]
    assert axes.images[0].get_array().mask[0].tolist() == [False, False, True]


def test_values_of_one_round_are_a_curve_with_the_removed_layers_marked(tmp_path: Path, drawn: list[Figure]) -> None:
    layers = [{"stack": "decoder", "layer": at, "influence": at / 9} for at in (1, 2, 3)]
    ranking = {"method": "block_influence", "order": [1, 2], "candidates": layers}
    plot_importance(tmp_path / "importance.png", "a run", [ranking])
    curve = drawn[0].axes[0].lines[0]
    assert list(curve.get_ydata()) == [1 / 9, 2 / 9, 3 / 9]
    assert removed_places(drawn[0]) == [0, 1]


def test_block_is_marked_at_its_first_layer(tmp_path: Path, drawn: list[Figure]) -> None:
    blocks = [{"stack": "decoder", "first": at, "layers": 2, "distance": abs(at - 2) / 9} for at in (1, 2, 3)]
    plot_importance(
        tmp_path / "importance.png", "a run", [{"method": "angular", "order": [2, 3], "candidates": blocks}]
    )
    assert removed_places(drawn[0]) == [1]


def test_layers_are_told_apart_by_stack_and_said_to_be_counted_from_0(tmp_path: Path, drawn: list[Figure]) -> None:
    both = [*(scored(layer, 2.0 - layer) for layer in (1, 2)), {"stack": "encoder", "layer": 1, "score": 0.5}]
    ranking = {"metric": "loss", "order": [], "encoder_order": [1], "candidates": both}
    plot_importance(tmp_path / "importance.png", "a run", [ranking])
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "e1"]
    assert removed_places(drawn[0]) == [2]
    assert "counted from 0" in axes.get_xlabel().replace("\n", " ")


def test_values_that_span_magnitudes_have_a_logarithmic_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    layers = [{"stack": "decoder", "layer": at, "influence": 10.0**-at} for at in (1, 2, 3)]
    ranking = {"method": "block_influence", "order": [3], "candidates": layers}
    plot_importance(tmp_path / "importance.png", "a run", [ranking])
    assert drawn[0].axes[0].get_yscale() == "log"

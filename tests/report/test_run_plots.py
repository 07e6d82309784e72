"""The plots of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.pipeline.runner import NodeResult
from stc.report.run_plots import PlottedSystem, plot_quality, plot_run, plot_seeds, plot_training
from stc.store.artifact import Artifact, Kind


def system(name: str, size: float, score: float, params: int, **more: Any) -> dict[str, Any]:
    compared = {"metric": "chrf", "confidence": 0.95, "sentences": 300, "reference": "teacher"}
    kept = score / 90
    figures = {"chrf": score, "retention": kept, "retention_ci": [kept - 0.02, kept + 0.01]}
    return {"name": name, "bytes_on_disk": size, "params": params, **figures, "compared": compared, **more}


SYSTEMS = [
    system("teacher", 20e6, 90.0, 12, retention_ci=[1.0, 1.0]),
    system("教师 $x_1$", 8e6, 89.0, 12),
    system("healed", 8e6, 91.0, 6),
]
RANKING = {
    "metric": "chrf",
    "order": [2],
    "candidates": [{"stack": "decoder", "layer": layer, "score": 50.0 + layer} for layer in (1, 2, 3)],
}


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def done(folder: Path, name: str, kind: Kind, **more: Any) -> NodeResult:
    path = folder / name
    path.mkdir()
    return NodeResult(name, Artifact(kind, path, name, more.pop("facts", {})), True, 1.0, **more)


def test_run_is_drawn_from_the_store(tmp_path: Path) -> None:
    search = done(tmp_path, "importance.1", Kind.RANKING)
    (search.artifact.path / "ranking.json").write_text(json.dumps(RANKING))
    heal = done(tmp_path, "heal", Kind.MODEL, facts={"dev_loss": 0.5}, curves={"loss": [[10, 2.0], [20, 1.0]]})
    files = plot_run(tmp_path / "plots", "a run", SYSTEMS, [search, heal])
    assert [file.name for file in files] == ["importance.png", "training.png", "quality.png"]
    assert all(map(is_png, files))


def test_plots_without_data_are_not_drawn(tmp_path: Path) -> None:
    gone = done(tmp_path, "importance.1", Kind.RANKING)  # its files were removed from the store
    assert plot_run(tmp_path / "plots", "a run", [], [gone, done(tmp_path, "base", Kind.MODEL)]) == []
    assert plot_seeds(tmp_path / "plots", "a run", [], 3) == []


def test_layers_that_were_not_compared_are_not_drawn(tmp_path: Path) -> None:
    named = done(tmp_path, "importance", Kind.RANKING)
    (named.artifact.path / "ranking.json").write_text(json.dumps({"order": [1, 2], "layers_removed": [1, 2]}))
    assert plot_run(tmp_path / "plots", "a run", [], [named]) == []


def test_bars_are_the_paired_intervals_of_the_table(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_run(tmp_path, "a run", SYSTEMS, [])
    bars = [container.lines[2][0].get_segments()[0][:, 1] for container in drawn[0].axes[0].containers]
    assert bars == [pytest.approx([100 * end for end in row["retention_ci"]]) for row in SYSTEMS]


def test_controls_are_hollow_and_the_pruned_system_is_not(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_run(tmp_path, "a run", SYSTEMS, [])
    marks = [container.lines[0] for container in drawn[0].axes[0].containers]
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [True, True, False]


def test_scores_are_drawn_where_the_reference_scores_0(tmp_path: Path, drawn: list[Figure]) -> None:
    nothing = [{**row, "chrf": 0.0, "retention": None, "retention_ci": None} for row in SYSTEMS]
    plot_run(tmp_path, "a run", nothing, [])
    assert drawn[0].axes[0].get_ylabel() == "chrF"


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


@pytest.mark.parametrize(("largest", "scale", "unit"), [(20e6, "linear", "MB"), (16.8e9, "log", "GB")])
def test_sizes_of_different_magnitude_have_a_logarithmic_axis(
    largest: float, scale: str, unit: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    marks = [PlottedSystem("a", largest, 90, 88, 91), PlottedSystem("b", 8e6, 89, 87, 90)]
    plot_quality(tmp_path / "quality.png", "a run", "chrF", marks, "bars")
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == scale
    assert f"({unit})" in axes.get_xlabel()


def test_training_has_the_curve_of_each_stage_and_the_loss_on_dev_at_its_end(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    trained = {name: {"loss": [[10, 2.0], [20, 1.0 + number]]} for number, name in enumerate("ab")}
    plot_training(tmp_path / "training.png", "a run", trained, {"b": 0.7})
    axes = drawn[0].axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[2.0, 1.0], [2.0, 2.0], [0.7]]
    assert "nats" in axes.get_ylabel()


@pytest.mark.parametrize(("end", "scale"), [(1.0, "linear"), (0.01, "log")])
def test_losses_that_would_coincide_near_zero_have_a_logarithmic_axis(
    end: float, scale: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    plot_training(tmp_path / "training.png", "a run", {"heal": {"loss": [[10, 2.0], [20, end]]}}, {})
    assert drawn[0].axes[0].get_yscale() == scale


def test_plots_of_seeds_have_deviations_as_bars(tmp_path: Path, drawn: list[Figure]) -> None:
    figures = {"metric": "chrf", "chrf": 50.0, "chrf_deviation": 2.0, "params": 12, "retention": 0.9}
    rows = [
        {"name": "a", "bytes_on_disk": 8, **figures, "retention_deviation": 0.02},
        {"name": "b", "bytes_on_disk": 9, **figures, "retention_deviation": None},
    ]
    plot_seeds(tmp_path / "plots", "a run", rows, 3)
    bars = [container.lines[2][0].get_segments()[0][:, 1] for container in drawn[0].axes[0].containers]
    assert bars == [pytest.approx([88, 92]), pytest.approx([90, 90])]


def test_module_imports_no_heavy_library() -> None:
    code = "import sys, stc.report.run_plots; assert not {'matplotlib', 'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

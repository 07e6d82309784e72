"""The plots of a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.errors import InputError
from stc.report.sweep_report import render
from stc.report.sweep_table import layer_searches


def test_sweep_is_drawn_as_png_and_svg(eight: Any, tmp_path: Path) -> None:
    files = render(eight.folder, pivot=("prune", "finetune")).plots(tmp_path / "plots")
    assert sorted(file.name for file in files) == [
        f"{name}.{kind}"
        for name in ("pareto-german", "pivot-german-ratio-0.25", "pivot-german-ratio-0.5", "ratio-german")
        for kind in ("png", "svg")
    ]
    for file in files:
        head = file.read_bytes()[:200]
        assert head.startswith(b"\x89PNG") if file.suffix == ".png" else b"<?xml" in head


def test_saved_report_shows_its_plots(four: Any, tmp_path: Path) -> None:
    files = render(four.folder, pivot=("prune", "finetune")).save(tmp_path / "out")
    assert {file.name for file in files} >= {"report.md", "report.csv", "report.tex", "pivot.csv", "pareto-german.svg"}
    assert all(file.stat().st_size > 0 for file in files)
    assert "![pareto-german](pareto-german.png)" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_metric_that_nobody_scored_by_is_refused_with_those_that_there_are(four: Any) -> None:
    with pytest.raises(InputError, match=r"--metric bleau: .*bleu, chrf, chrf_pp \(did you mean 'bleu'"):
        render(four.folder, metric="bleau")


def test_plot_of_retention_by_ratio_has_a_panel_for_each_healing_and_shows_all_bars(
    eight: Any, tmp_path: Path, drawn: list[Figure]
) -> None:
    report = render(eight.folder)
    report.plots(tmp_path)
    panels = [axes for axes in drawn[1].axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["full", "lora"]
    low, high = panels[0].get_ylim()
    for line in report.groups[0].lines:
        if not line.is_control:
            assert low < 100 * line.row["retention_ci"][0]
            assert 100 * line.row["retention_ci"][1] < high
    for axes in panels:
        curves = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
        assert [list(line.get_xdata()) for line in curves] == [[25, 50], [25, 50]]


def test_ratio_that_is_not_swept_is_not_drawn(four: Any, tmp_path: Path) -> None:
    assert [file.name for file in render(four.folder).plots(tmp_path)] == ["pareto-german.png", "pareto-german.svg"]


def test_dot_of_a_pivot_is_at_its_retention(four: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    report = render(four.folder, pivot=("prune", "finetune"))
    report.plots(tmp_path)
    axes = drawn[-1].axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["greedy", "random"]
    for container, column in zip(axes.containers, ("full", "lora"), strict=True):
        dots, expected = container.lines[0].get_xdata(), report.pivots[0].cells
        assert list(dots) == [
            pytest.approx(100 * expected[row, column].row["retention"]) for row in ("greedy", "random")
        ]


def test_search_that_continues_another_is_drawn_once(sweep: Any, tmp_path: Path) -> None:
    rounds = [
        {"metric": "chrf_pp", "order": [2, 3][:done], "candidates": [{"stack": "decoder", "layer": 3, "score": 50.0}]}
        for done in (1, 2)
    ]
    for ratio, searched in ((0.25, rounds[:1]), (0.5, rounds)):
        job = sweep.add({"teacher": 1, "pruned-nf4": 8}, prune__ratio=ratio)
        sweep.search(job, searched)
    report = render(sweep.folder)
    assert layer_searches(report.groups[0]) == [("", rounds)]
    assert "importance-german-1.png" in [file.name for file in report.plots(tmp_path)]
    assert json.loads((job / "result.json").read_text())["stages"][0]["name"] == "importance.1"

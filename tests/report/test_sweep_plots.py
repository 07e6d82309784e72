"""The plots of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.errors import InputError
from stc.report import sweep_plots
from stc.report.plot_style import canvas
from stc.report.sweep_plots import default_front_metric, pareto_front, place_names, plot_pareto_front
from stc.report.sweep_report import render
from stc.report.sweep_table import layer_searches


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []

    @contextmanager
    def seen(*arguments: Any, **more: Any) -> Iterator[Figure]:
        with canvas(*arguments, **more) as figure:
            yield figure
            figures.append(figure)

    monkeypatch.setattr(sweep_plots, "canvas", seen)
    return figures


def add_all(sweep: Any, ratios: tuple[float, ...] = (0.25, 0.5)) -> None:
    for ratio in ratios:
        for prune, wrong in (("greedy", 3), ("random", 9)):
            for finetune, more in (("full", 0), ("lora", 2)):
                systems = {"teacher": 1, "healed-nf4": 2 + more, "pruned-nf4": wrong + more + round(10 * ratio)}
                sweep.add(systems, prune=prune, finetune=finetune, prune__ratio=ratio)


@pytest.fixture(scope="module")
def eight(new_sweep: Any) -> Any:
    """A sweep of two ratios, which nobody changes."""
    made = new_sweep()
    add_all(made)
    return made


@pytest.fixture(scope="module")
def four(new_sweep: Any) -> Any:
    """A sweep of one ratio, which nobody changes."""
    made = new_sweep()
    add_all(made, ratios=(0.5,))
    return made


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


def test_pareto_front_has_no_point_that_another_beats() -> None:
    points = [(3, 90.0), (1, 50.0), (2, 60.0), (2, 55.0), (3, 90.0), (4, 80.0), (1, 50.0)]
    assert pareto_front(points) == [1, 2, 0]


def test_size_difference_below_one_percent_is_ignored_by_the_front() -> None:
    assert pareto_front([(1_000_000, 80.0), (999_000, 70.0), (980_000, 60.0), (1_002_000, 80.0)]) == [2, 0]


def test_line_of_the_front_goes_through_its_systems(eight: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    (group,) = render(eight.folder).groups
    plot_pareto_front(tmp_path / "front.png", "a sweep", group, "chrf_pp")
    line = drawn[0].axes[0].lines[0]
    corners = {(float(x), float(y)) for x, y in line.get_xydata()}
    points = [(float(one.row["bytes_on_disk"]), one.row["chrf_pp"]) for one in group.lines]
    assert {points[at] for at in pareto_front(points)} <= corners


def test_front_is_by_the_metric_that_is_asked_for(four: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    report = render(four.folder, metric="bleu")
    report.plots(tmp_path)
    (axes,) = drawn[0].axes
    assert axes.get_ylabel().startswith("BLEU ")
    marks = {(float(x), float(y)) for line in axes.lines for x, y in line.get_xydata()}
    assert {(line.row["bytes_on_disk"], line.row["bleu"]) for line in report.groups[0].lines} <= marks


def test_front_is_by_comet_only_if_every_system_has_it(four: Any) -> None:
    (group,) = render(four.folder).groups
    scored = [replace(line, row={**line.row, "comet": 80.0}) for line in group.lines]
    assert default_front_metric(replace(group, lines=scored)) == "comet"
    assert default_front_metric(replace(group, lines=[*scored[1:], group.lines[0]])) == "chrf_pp"


def test_metric_that_nobody_scored_by_is_refused_with_those_that_there_are(four: Any) -> None:
    with pytest.raises(InputError, match=r"--metric bleau: .*bleu, chrf, chrf_pp \(did you mean 'bleu'"):
        render(four.folder, metric="bleau")


def test_names_do_not_cover_one_another_and_stay_within_the_axes() -> None:
    """Eight marks in a heap, on a line."""
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    points = [(5 + number % 2 / 5, 5 + number / 8) for number in range(8)]
    names = [axes.text(*point, f"system {number}", fontsize=8) for number, point in enumerate(points)]
    place_names(axes, names, points, [(0, 5), (10, 5)])
    boxes = [name.get_window_extent() for name in names]
    for at, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[at + 1 :])
        assert axes.bbox.contains(*box.min)
        assert axes.bbox.contains(*box.max)


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

"""The plot of quality against size of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stc.report.pareto_plot import default_front_metric, pareto_front, plot_pareto_front
from stc.report.sweep_report import render


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
    points = [(float(one.row["bytes_on_disk"]), 100 * one.row["retention"]) for one in group.lines]
    assert {points[at] for at in pareto_front(points)} <= corners


def test_front_is_by_the_metric_that_is_asked_for(four: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    report = render(four.folder, metric="bleu")
    report.plots(tmp_path)
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "BLEU"
    marks = {(float(x), float(y)) for line in axes.lines for x, y in line.get_xydata()}
    assert {(line.row["bytes_on_disk"], line.row["bleu"]) for line in report.groups[0].lines} <= marks


def test_front_is_by_comet_only_if_every_system_has_it(four: Any) -> None:
    (group,) = render(four.folder).groups
    scored = [replace(line, row={**line.row, "comet": 80.0}) for line in group.lines]
    assert default_front_metric(replace(group, lines=scored)) == "comet"
    assert default_front_metric(replace(group, lines=[*scored[1:], group.lines[0]])) == "chrf_pp"


def test_bars_of_the_front_are_the_paired_intervals_of_the_table(
    eight: Any, tmp_path: Path, drawn: list[Figure]
) -> None:
    (group,) = render(eight.folder).groups
    plot_pareto_front(tmp_path / "front.png", "a sweep", group, group.metric)
    drawn_bars = [
        list(container.lines[2][0].get_segments()[0][:, 1])
        for container in drawn[0].axes[0].containers
        if container.lines[2]
    ]
    table = [[100 * end for end in line.row["retention_ci"]] for line in group.lines if not line.row["is_reference"]]
    assert drawn_bars == [pytest.approx(ends) for ends in table]


def test_systems_on_the_front_are_numbered_and_named_in_the_legend(
    eight: Any, tmp_path: Path, drawn: list[Figure]
) -> None:
    (group,) = render(eight.folder).groups
    plot_pareto_front(tmp_path / "front.png", "a sweep", group, group.metric)
    numbers = [text.get_text() for text in drawn[0].axes[0].texts]
    named = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert numbers
    assert [text.split(":")[0] for text in named if ":" in text] == numbers


def test_each_control_has_a_hollow_marker_of_its_own(eight: Any, tmp_path: Path, drawn: list[Figure]) -> None:
    (group,) = render(eight.folder).groups
    plot_pareto_front(tmp_path / "front.png", "a sweep", group, group.metric)
    marks = [container.lines[0] for container in drawn[0].axes[0].containers]
    signs: dict[str, set[str]] = {}
    for line, mark in zip(group.lines, marks, strict=True):
        assert (mark.get_markerfacecolor() == "white") == line.is_control
        if line.is_control:
            signs.setdefault(line.name, set()).add(mark.get_marker())
    assert len(set.union(*signs.values())) == len(signs)


def test_pruned_systems_of_different_names_have_different_colours(
    sweep: Any, tmp_path: Path, drawn: list[Figure]
) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 9}, prune__ratio=0.25)
    sweep.add({"teacher": 1, "pruned": 8}, prune__ratio=0.5)
    render(sweep.folder, systems="all").plots(tmp_path)
    marks = [container.lines[0] for container in drawn[0].axes[0].containers]
    pruned = {mark.get_color() for mark in marks if mark.get_markerfacecolor() != "white"}
    assert len(pruned) == 2

"""One figure by two settings."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from stc.errors import InputError
from stc.metrics.significance import difference
from stc.report.csv_export import cells_csv
from stc.report.pivot import Pivot, make_pivots
from stc.report.sweep_report import render

PRUNED = {("greedy", "full"): 4, ("greedy", "lora"): 6, ("random", "full"): 20, ("random", "lora"): 7}


def add_all(sweep: Any, **more: Any) -> None:
    for (prune, finetune), wrong in PRUNED.items():
        sweep.add({"teacher": 1, "healed-nf4": 2, "pruned-nf4": wrong}, prune=prune, finetune=finetune, **more)


@pytest.fixture(scope="module")
def four(new_sweep: Any) -> Any:
    """A sweep of the four jobs, which nobody changes."""
    made = new_sweep()
    add_all(made, lang="de")
    return made


def the_pivot(sweep: Any, *asked: str, systems: str | None = None) -> Pivot:
    (pivot,) = render(sweep.folder, pivot=asked or ("prune", "finetune"), systems=systems).pivots
    return pivot


def test_each_result_is_in_its_cell(four: Any) -> None:
    pivot = the_pivot(four)
    assert (pivot.rows, pivot.columns) == (["greedy", "random"], ["full", "lora"])
    for (prune, finetune), line in pivot.cells.items():
        assert line.settings == {"prune": prune, "finetune": finetune}
    assert len(pivot.cells) == 4


def test_cell_shows_retention_and_its_interval(four: Any) -> None:
    pivot = the_pivot(four)
    row = pivot.cells["random", "full"].row
    low, high = row["retention_ci"]
    shown = f"{100 * row['retention']:.1f} ({100 * low:.1f}–{100 * high:.1f})"
    assert shown in render(four.folder, pivot=("prune", "finetune")).terminal


def test_axis_of_two_settings_has_their_combinations(sweep: Any) -> None:
    add_all(sweep)
    add_all(sweep, distill="online")
    pivot = the_pivot(sweep, "prune", "finetune+distill", "chrf_pp")
    assert pivot.columns == ["full + sequence", "lora + sequence", "full + online", "lora + online"]


def test_each_value_of_a_setting_on_neither_axis_has_its_own_table(sweep: Any) -> None:
    add_all(sweep)
    add_all(sweep, prune__ratio=0.25)
    titles = [pivot.title for pivot in render(sweep.folder, pivot=("prune", "finetune")).pivots]
    assert titles == ["German, ratio=0.5", "German, ratio=0.25"]


def test_job_that_failed_leaves_its_cell_empty_and_is_listed(sweep: Any) -> None:
    add_all(sweep)
    sweep.ask({"prune": "middle", "finetune": "full"})
    sweep.add({"teacher": 1, "healed-nf4": 2, "pruned-nf4": 9}, prune="middle", finetune="lora")
    text = render(sweep.folder, pivot=("prune", "finetune", "chrf_pp")).terminal
    assert next(line for line in text.splitlines() if line.startswith("middle")).split()[1] == "–"
    assert "1 of 6 jobs without a result" in text


def test_bold_is_the_best_of_a_column_and_cells_that_do_not_differ_significantly(four: Any) -> None:
    """4 and 20 faults of 100 are told apart, 6 and 7 are not."""
    assert the_pivot(four).best == {("greedy", "full"), ("greedy", "lora"), ("random", "lora")}
    assert the_pivot(four, "prune", "finetune", "bleu").best == {("greedy", "full"), ("greedy", "lora")}


def test_bold_is_the_smallest_where_lower_is_better(sweep: Any) -> None:
    for ratio in (0.25, 0.5):
        sweep.add({"teacher": 1, "pruned-nf4": 5}, prune__ratio=ratio, finetune="full")
    assert the_pivot(sweep, "ratio", "finetune", "bytes_on_disk").best == {("0.5", "full")}


def test_cells_that_look_equal_are_all_bold(sweep: Any) -> None:
    for prune in ("greedy", "random"):
        sweep.add({"teacher": 1, "pruned-nf4": 5}, prune=prune, finetune="full")
    assert the_pivot(sweep, "prune", "finetune", "bytes_on_disk").best == {("greedy", "full"), ("random", "full")}


def test_bold_is_shown_in_markdown_and_latex_but_not_in_a_terminal(four: Any) -> None:
    report = render(four.folder, pivot=("prune", "finetune", "bleu"))
    assert report.markdown.count("| **") == 2
    assert report.latex.count(r"\textbf{") == 2
    assert "**" not in report.terminal


def test_differences_are_relative_to_the_first_row_of_the_column(four: Any) -> None:
    pivot = the_pivot(four)
    assert set(pivot.differences) == {("random", "full"), ("random", "lora")}
    ours, theirs = (pivot.cells[prune, "full"].systems[0].quality for prune in ("random", "greedy"))
    assert ours is not None
    assert theirs is not None
    expected = difference(
        "chrf_pp",
        ours.metrics["chrf_pp"].statistics,
        theirs.metrics["chrf_pp"].statistics,
        **pivot.group.resampling,
    )
    assert pivot.differences["random", "full"] == expected
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(cells_csv([pivot])))
        if (row["row"], row["column"]) == ("random", "full")
    ]
    assert float(row["difference_points"]) == expected.value
    assert float(row["p_randomization"]) == expected.p_randomization


def test_pivot_of_seeds_has_deviations_and_no_tests(sweep: Any) -> None:
    for prune, wrong in (("greedy", 4), ("random", 9)):
        sweep.add({"teacher": 1, "pruned-nf4": wrong}, seeds=[1, 2], prune=prune, finetune="full")
    pivot = the_pivot(sweep)
    assert pivot.differences == {}
    assert pivot.best == {("greedy", "full")}
    assert " ± " in render(sweep.folder, pivot=("prune", "finetune")).terminal


def test_pivot_of_a_control_has_a_cell_for_every_job_that_has_it(four: Any) -> None:
    pivot = the_pivot(four, "prune", "finetune", systems="healed-nf4")
    assert len(pivot.cells) == 4
    assert pivot.cells["greedy", "full"] is pivot.cells["random", "full"]


def test_pivot_of_several_systems_is_refused(four: Any) -> None:
    with pytest.raises(InputError, match="--systems is one of teacher, healed-nf4"):
        the_pivot(four, "prune", "finetune", systems="controls")


def test_two_results_in_one_cell_are_refused_with_their_jobs(sweep: Any) -> None:
    add_all(sweep)
    other = sweep.add({"teacher": 1, "healed-nf4": 2, "pruned-nf4": 5}, prune="greedy", finetune="full")
    with pytest.raises(InputError, match=f"two results for greedy and full .*{sweep.folder}/0 and {other}"):
        the_pivot(sweep)


def test_equal_results_share_a_cell(sweep: Any) -> None:
    add_all(sweep)
    add_all(sweep)
    assert len(the_pivot(sweep).cells) == 4


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("prune", "prune"), "prune cannot be both in rows and in columns"),
        (("prune", "lang"), "each language has a table of its own"),
        (("prune", "finetun"), "'finetun' .*did you mean 'finetune'"),
        (("prune", "finetune", "retentoin"), "retention, .*did you mean 'retention'"),
    ],
)
def test_invalid_pivot_is_refused(asked: tuple[str, ...], message: str, four: Any) -> None:
    with pytest.raises(InputError, match=message):
        make_pivots(render(four.folder).groups, *asked)

"""Reports show a custom metric like any other."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from own_metrics import add_own_metrics

from stc.report.run_plots import plot_run
from stc.report.run_table import format_run_table
from stc.report.sweep_report import render


@pytest.fixture
def own(sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sweep in which every system is scored by chrF and the two metrics."""
    add_own_metrics(tmp_path, monkeypatch)
    sweep.metrics = ("chrf", "lab.exact", "lab.length")
    return sweep


@pytest.mark.parametrize(
    ("metric", "titled", "kept"),
    [("lab.exact", "exact match", 60 / 95), ("lab.length", "length error (lower is better)", (5 * 2) / (40 * 3))],
)
def test_table_csv_and_plots_show_a_custom_metric(
    metric: str, titled: str, kept: float, own: Any, tmp_path: Path
) -> None:
    own.metric = metric
    own.add({"teacher": 10, "healed-nf4": 5, "pruned-nf4": 40}, prune="greedy", finetune="full")
    own.add({"teacher": 10, "healed-nf4": 5, "pruned-nf4": 50}, prune="random", finetune="full")
    report = render(own.folder, pivot=["prune", "finetune", metric])
    (group,) = report.groups
    assert group.reference_name == "healed-nf4"
    pruned = next(line for line in group.lines if not line.is_control)
    assert pruned.row["retention"] == pytest.approx(kept, rel=0.02)
    low, high = pruned.row["retention_ci"]
    assert low < pruned.row["retention"] < high < 1

    (pivot,) = report.pivots
    assert pivot.best == {("greedy", "full")}
    for text in (report.terminal, report.markdown, report.latex, format_run_table([pruned.row])):
        assert titled in text
        assert "BLEU" not in text
    rows = {row["prune"]: row for row in csv.DictReader(io.StringIO(report.csv)) if row["control"] == "0"}
    assert float(rows["greedy"][f"{metric}_points"]) == pruned.row[metric]
    plots = [*report.plots(tmp_path / "plots"), *plot_run(tmp_path / "run", "", [pruned.row], [])]
    assert {plot.stem.split("-")[0] for plot in plots} == {"pareto", "pivot", "quality"}


def test_seeds_have_mean_and_deviation_of_a_custom_metric(own: Any) -> None:
    own.metric = "lab.length"
    own.add({"teacher": 10, "pruned-nf4": 40}, seeds=(1, 2, 3))
    report = render(own.folder)
    assert "length error (lower is better)" in report.terminal
    assert "lab.length_deviation_points" in report.csv.splitlines()[0]


def test_reference_of_a_sweep_is_the_control_with_the_lowest_error(own: Any) -> None:
    own.metric = "lab.length"
    own.add({"teacher": 40, "control": 10, "pruned-nf4": 60})
    (group,) = render(own.folder).groups
    retained = {line.name: line.row["retention"] for line in group.lines}
    assert retained["control"] == 1 > retained["teacher"] > retained["pruned-nf4"]

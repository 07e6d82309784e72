"""Reports on few test sentences have no interval and no p-value, and say why."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from stc.report.csv_export import cells_csv
from stc.report.sweep_report import Report, render


def reported(sweep: Any, sentences: int) -> Report:
    sweep.sentences = sentences
    for prune, wrong in (("greedy", 4), ("random", 20)):
        sweep.add({"teacher": 1, "pruned-nf4": wrong}, prune=prune, finetune="full")
    return render(sweep.folder, pivot=("prune", "finetune"))


def test_too_few_sentences_have_no_interval_in_any_format(sweep: Any) -> None:
    report = reported(sweep, 29)
    for text in (report.terminal, report.markdown, report.latex):
        assert "29 test sentences are too few" in " ".join(text.split())
        assert "(p " not in text
        assert "% interval" not in text
    for row in csv.DictReader(io.StringIO(report.csv + cells_csv(report.pivots).partition("\n")[2])):
        assert not [key for key in row if "_low_" in str(key) or "_high_" in str(key) or str(key).startswith("p_")]


def test_difference_of_too_few_sentences_is_that_of_the_scores(sweep: Any) -> None:
    report = reported(sweep, 29)
    found = report.pivots[0].differences["random", "full"]
    greedy, random = (report.pivots[0].cells[prune, "full"].row for prune in ("greedy", "random"))
    assert found.value == pytest.approx(random["chrf_pp"] - greedy["chrf_pp"])
    assert report.pivots[0].best == {("greedy", "full")}


def test_plots_of_too_few_sentences_are_drawn_without_bars(sweep: Any, tmp_path: Path) -> None:
    assert all(file.stat().st_size > 5000 for file in reported(sweep, 29).plots(tmp_path))


def test_older_comparison_of_too_few_sentences_shows_no_interval(sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.sentences = 29
    with monkeypatch.context() as before:
        before.setattr("stc.metrics.significance.enough_sentences", lambda sentences: True)
        sweep.add({"teacher": 1, "pruned-nf4": 20})
    report = render(sweep.folder)
    assert report.groups[0].lines[1].systems[0].row["score_ci"] is not None
    assert report.groups[0].lines[1].row["score_ci"] is None


def test_fewer_than_a_hundred_sentences_carry_a_warning(sweep: Any) -> None:
    report = reported(sweep, 40)
    for text in (report.terminal, report.markdown, report.latex):
        assert "Warning" in text
        assert "(p " in text

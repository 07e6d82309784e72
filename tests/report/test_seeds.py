"""Runs of several seeds as one table."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from stc.report.run_table import aggregate_seeds, format_seeds_table
from stc.system.tables import markdown_table

SCORES = {"teacher": [70.0, 71.0, 75.0], "pruned": [60.0, 62.0, 64.0]}


def row(name: str, chrf: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "layers": 16,
        "params": 11_400_000,
        "packed_elements": 6_230_000,
        "bytes_on_disk": 7_760_000,
        "bleu": 40.0,
        "chrf": chrf,
        "chrf_pp": 50.0,
        "retention": chrf / 75,
        "rtf": 0.1,
        "peak_memory_bytes": 6e8,
        "metrics": ["bleu", "chrf", "chrf_pp"],
        "compared": {"metric": "chrf", "sentences": 300},
    } | changes


def runs(seeds: int = 3, **changes: Any) -> list[list[dict[str, Any]]]:
    return [[row(name, scores[seed], **changes) for name, scores in SCORES.items()] for seed in range(seeds)]


def test_each_system_has_mean_and_standard_deviation_of_the_sample() -> None:
    teacher, pruned = aggregate_seeds(runs())
    assert (teacher["name"], pruned["name"]) == ("teacher", "pruned")
    assert teacher["chrf"] == pytest.approx(72)
    assert teacher["chrf_deviation"] == pytest.approx(statistics.stdev(SCORES["teacher"]))
    assert (pruned["chrf"], pruned["chrf_deviation"]) == (62, 2)


def test_one_seed_has_no_deviation() -> None:
    teacher, _ = aggregate_seeds(runs(seeds=1))
    assert (teacher["chrf"], teacher["chrf_deviation"]) == (70, None)
    assert "70.0 ± –" in format_seeds_table([teacher], [7])


def test_figure_missing_for_one_seed_is_none() -> None:
    teacher, _ = aggregate_seeds(runs(retention=None))
    assert (teacher["retention"], teacher["retention_deviation"]) == (None, None)


def test_runs_without_a_comparison_give_no_systems() -> None:
    assert aggregate_seeds([[], []]) == []


def test_table_shows_means_deviations_and_seeds() -> None:
    text = format_seeds_table(aggregate_seeds(runs()), [1, 2, 3])
    line = " ".join(line for line in text.splitlines() if line.startswith("pruned"))
    assert "62.0 ± 2.0" in line
    assert "82.7 ± 2.7" in line  # retention
    assert "7.76 MB" in line
    assert "over 3 seeds (1, 2, 3)" in text
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_has_as_many_cells_in_every_row() -> None:
    text = format_seeds_table(aggregate_seeds(runs()), [1, 2, 3], markdown_table)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({line.count("|") for line in rows}) == 1

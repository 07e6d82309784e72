"""The notes of every table say what systems say instead of translating, and nothing of systems that translate."""

from __future__ import annotations

import csv
import io
from typing import Any

from test_table import system

from stc.report.run_table import aggregate_seeds, format_run_table, format_seeds_table
from stc.report.sweep_report import render

NONE = {"empty": 0, "preambles": 0, "quoted": 0, "source_language": 0, "loops": 0, "cut_off": 0}


def text_of(table: str) -> str:
    return " ".join(table.split())


def test_each_system_with_faults_is_named() -> None:
    looping = system("pruned", output_faults=NONE | {"loops": 12, "preambles": 3, "empty": 1})
    table = text_of(format_run_table([system("teacher", output_faults=NONE), looping]))
    assert "pruned: 1 of 300 is empty, 3 begin with a preamble, 12 loop." in table
    assert "teacher:" not in table


def test_zeros_are_not_shown() -> None:
    assert format_run_table([system("teacher", output_faults=NONE)]) == format_run_table(
        [system("teacher", output_faults={})]
    )


def test_system_that_was_scored_before_faults_were_counted_is_named() -> None:
    rows = [system("teacher", output_faults=None), system("pruned", output_faults=NONE)]
    assert "Not counted for teacher" in text_of(format_run_table(rows))


def test_faults_of_all_seeds_are_added_up() -> None:
    runs = [[system("pruned", output_faults=NONE | {"loops": count})] for count in (1, 0, 4)]
    table = text_of(format_seeds_table(aggregate_seeds(runs), [1, 2, 3]))
    assert "pruned: 5 of 900 loop." in table


def test_rules_are_named_even_if_they_changed_nothing() -> None:
    rules = {"strip": ["preamble", "quotes"], "stop_repetition": 4}
    rows = [
        system(name, output_faults=NONE, output_rules=rules | {"changed": changed})
        for name, changed in (("teacher", 0), ("pruned", 7))
    ]
    given = "(decoding.strip=[preamble,quotes] decoding.stop_repetition=4)"
    assert f"{given}: teacher 0 of 300, pruned 7 of 300." in text_of(format_run_table(rows))
    assert f"{given}: teacher 0 of 600, pruned 14 of 600." in text_of(
        format_seeds_table(aggregate_seeds([rows, rows]), [1, 2])
    )


def test_report_on_a_sweep_names_systems_with_their_settings(sweep: Any) -> None:
    sweep.faults = {"pruned-nf4": NONE | {"source_language": 7}, "teacher": NONE}
    for ratio in (0.25, 0.5):
        sweep.add({"teacher": 1, "pruned-nf4": 4}, prune__ratio=ratio)
    report = render(sweep.folder)
    for text in (report.terminal, report.markdown):
        assert "pruned-nf4 (ratio=0.25): 7 of 100 are in the source language." in text_of(text)
        assert "teacher:" not in text_of(text)
    counts = {row["system"]: row["source_language_texts"] for row in csv.DictReader(io.StringIO(report.csv))}
    assert counts == {"teacher": "0", "pruned-nf4": "7"}

"""The printed table."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from stc.report.run_table import format_difference, format_run_table, summarize
from stc.system.number_formats import format_bytes, format_count
from stc.system.tables import TableFormat, markdown_table, terminal_table

COMPARED = {"metric": "chrf_pp", "reference": "teacher", "confidence": 0.95, "resamples": 1000, "sentences": 300}


def system(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "layers": 32,
        "params": 8_397_094_912,
        "packed_elements": 8_397_094_912,
        "bytes_on_disk": 16_794_189_824,
        "bleu": 41.06,
        "chrf": 68.2,
        "chrf_pp": 65.34,
        "retention": 1.0,
        "retention_ci": [1.0, 1.0],
        "rtf": 0.1123,
        "peak_memory_bytes": 17_400_000_000,
        "device": "cuda",
        "tests": [],
        "metrics": ["bleu", "chrf", "chrf_pp"],
        "compared": COMPARED,
    } | changes


TESTS = [
    {"against": "teacher", "value": -0.83, "interval": [-2.1, 0.3], "p_bootstrap": 0.118, "p_randomization": 0.1249},
    {"against": "broken", "value": 12.0, "interval": [8, 16], "p_bootstrap": 1 / 1001, "p_randomization": 1 / 10_001},
]
SYSTEMS = [
    system("teacher"),
    system(
        "pruned_healed_nf4",
        layers=24,
        retention=0.987,
        retention_ci=[0.967, 1.004],
        bytes_on_disk=5_407_000_000,
        tests=TESTS,
    ),
    system("broken", retention=None, retention_ci=None, chrf=None),
]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (812, "812"), (9_999, "10.0 k"), (10_400_000, "10.4 M"), (6_777_929_728, "6.78 B")]
)
def test_count_has_three_significant_digits(number: int, text: str) -> None:
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(512, "512 B"), (21_000_000, "21.0 MB"), (999_600_000, "1.00 GB"), (13_560_000_000, "13.6 GB")]
)
def test_bytes_are_in_powers_of_1000(number: int, text: str) -> None:
    assert format_bytes(number) == text


def test_table_and_notes_fit_a_terminal_of_100_columns() -> None:
    assert max(map(len, format_run_table(SYSTEMS).splitlines())) <= 100


def test_columns_are_aligned() -> None:
    lines = format_run_table(SYSTEMS).splitlines()[2:6]  # the rule and the systems
    assert {len(line) for line in lines} == {len(lines[0])}


def test_columns_are_aligned_below_wide_characters() -> None:
    lines = format_run_table([system("教师"), system("abcd")]).splitlines()[3:5]
    assert lines[0].index("8.40 B") + 2 == lines[1].index("8.40 B")  # two signs that take two columns each


def test_row_shows_the_figures_of_its_system() -> None:
    first, rest, *_ = [line for line in format_run_table(SYSTEMS).splitlines() if line.startswith("pruned_healed_nf4")]
    row = f"{first} {rest}"  # what has no place in the first table is in a second one
    for figure in ("24", "8.40 B", "5.41 GB", "41.1", "68.2", "65.3", "98.7 %", "96.7–100.4", "0.112", "17.4 GB"):
        assert figure in row


def test_difference_is_shown_with_its_interval_and_both_p_values() -> None:
    lines = format_run_table(SYSTEMS).splitlines()
    rows = [line.split() for line in lines if line.startswith("pruned_healed_nf4")]
    assert rows[2:] == [
        ["pruned_healed_nf4", "teacher", "−0.8", "−2.1", "to", "+0.3", "0.125", "0.118"],
        ["pruned_healed_nf4", "broken", "+12.0", "+8.0", "to", "+16.0", "<0.001", "<0.001"],
    ]
    assert "95 % interval by paired bootstrap" in " ".join(format_run_table(SYSTEMS).split())


@pytest.mark.parametrize(("points", "text"), [(0.44, "+0.4"), (-1.25, "−1.2"), (-0.04, "0.0"), (0.0, "0.0")])
def test_difference_has_its_sign(points: float, text: str) -> None:
    assert format_difference(points) == text


def test_single_system_has_no_table_of_tests() -> None:
    assert "against" not in format_run_table([system("teacher")])


def test_note_explains_retention() -> None:
    note = " ".join(format_run_table(SYSTEMS).split())
    assert "Retention: chrF++ relative to teacher" in note
    assert all(words in note for words in ("95 % interval", "1,000 paired bootstrap", "300 sentences"))


def test_summary_says_what_the_last_system_takes_and_keeps() -> None:
    said = summarize(SYSTEMS[:2])
    for figure in ("5.41 GB", "3.1 times smaller", "16.8 GB", "98.7 %", "96.7–100.4", "chrF++"):
        assert figure in said
    assert "%" not in summarize(SYSTEMS)  # it has no retention


def few(sentences: int, **changes: Any) -> list[dict[str, Any]]:
    compared = {**COMPARED, "sentences": sentences}
    return [system("teacher", compared=compared), system("pruned", compared=compared, **changes)]


@pytest.mark.parametrize("form", [terminal_table, markdown_table])
def test_table_of_too_few_sentences_has_no_interval_and_says_why(form: TableFormat) -> None:
    test = {"against": "teacher", "value": -0.8, "interval": None, "p_bootstrap": None, "p_randomization": None}
    text = format_run_table(few(12, retention_ci=None, tests=[test]), form)
    assert "12 test sentences are too few" in text
    assert "−0.8" in text
    assert not re.search(r"\d–\d|bootstrap resamples|% interval", text)
    (row,) = [line for line in text.splitlines() if "−0.8" in line]
    assert row.count("–") == 3


@pytest.mark.parametrize(("sentences", "warned"), [(30, True), (99, True), (100, False)])
def test_fewer_than_a_hundred_sentences_carry_a_warning(sentences: int, warned: bool) -> None:
    assert ("Warning" in format_run_table(few(sentences))) == warned
    assert "% interval" in format_run_table(few(sentences))


def test_note_says_that_the_reference_scores_zero() -> None:
    text = format_run_table([system("teacher", chrf_pp=0.0, retention=None, retention_ci=None)])
    assert "teacher scores 0" in text
    assert "scores 0" not in format_run_table(SYSTEMS)


def test_markdown_has_as_many_cells_in_every_row() -> None:
    rows = [line.count("|") for line in format_run_table(SYSTEMS, markdown_table).splitlines() if line.startswith("|")]
    assert rows == [13] * 5 + [7] * 4


def test_report_imports_nothing_heavy() -> None:
    code = "import stc.report, stc.stages.compare, stc.stages.evaluate, stc.stages.measure, stc.tracking, sys; print(*[m for m in sys.modules if m in ('torch', 'transformers', 'pandas', 'matplotlib', 'scipy', 'mlflow', 'sacrebleu')])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""The translation of a talk is divided into the lines of its reference so that their edit distances are lowest."""

from __future__ import annotations

import os
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from stc.errors import InputError, StcError
from stc.metrics.metric import score
from stc.metrics.resegmentation import line_ends, resegment

LINES = [
    "Das rote Haus steht am Fluss.",
    "Wir trinken jeden Morgen Kaffee.",
    "Ja.",
    "Ein kleiner Hund läuft über die Straße.",
]


def distance(first: list[int], second: list[int]) -> int:
    """The edit distance, by its definition."""
    row = list(range(len(second) + 1))
    for number, one in enumerate(first, start=1):
        above, row = row, [number]
        for place, other in enumerate(second, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (one != other)))
    return row[-1]


def cost(hypothesis: list[int], lines: list[list[int]], ends: list[int]) -> int:
    parts = zip([0, *ends], ends, lines, strict=False)
    return sum(distance(hypothesis[start:end], line) for start, end, line in parts)


def test_no_other_division_has_a_lower_sum_of_edit_distances() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        lines = [random.integers(4, size=random.integers(5)).tolist() for _ in range(random.integers(1, 4))]
        hypothesis = random.integers(4, size=random.integers(9)).tolist()
        cuts = combinations_with_replacement(range(len(hypothesis) + 1), len(lines) - 1)
        lowest = min(cost(hypothesis, lines, [*ends, len(hypothesis)]) for ends in cuts)
        ends = line_ends(np.array(hypothesis, dtype=int), [np.array(line, dtype=int) for line in lines])
        assert ends == sorted(ends)
        assert ends[-1] == len(hypothesis)
        assert cost(hypothesis, lines, ends) == lowest


def test_perfect_translation_that_is_cut_otherwise_scores_100() -> None:
    whole = " ".join(LINES).lower()
    found = resegment(whole, LINES, "de")
    assert [one.casefold() for one in found] == [line.casefold() for line in LINES]
    assert score("chrf", resegment(" ".join(LINES), LINES, "de"), LINES, "de") == 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("das Haus steht am fluss Wir trinken Tee. Ja. Hund läuft über Straße.",
         ["das Haus steht am fluss", "Wir trinken Tee.", "Ja.", "Hund läuft über Straße."]),
        ("Wir trinken jeden Morgen Kaffee. Ein kleiner Hund",
         ["", "Wir trinken jeden Morgen Kaffee.", "", "Ein kleiner Hund"]),
        ("", ["", "", "", ""]),
    ],
)  # fmt: skip
def test_lines_get_the_words_of_a_known_best_alignment(text: str, expected: list[str]) -> None:
    assert resegment(text, LINES, "de") == expected


def test_scripts_without_spaces_are_divided_between_characters_and_words_in_latin_letters_stay_whole() -> None:
    lines = ["我们每天喝咖啡。", "早上好。", "我用 BERT 模型。"]
    assert resegment("我们喝咖啡。早上好！我用BERT模型。", lines, "zh") == [
        "我们喝咖啡。",
        "早上好！",
        "我用BERT模型。",
    ]
    assert score("bleu", resegment("".join(lines), lines, "zh"), lines, "zh") == pytest.approx(100)


def test_nothing_of_the_text_is_lost_and_line_ends_in_it_end_no_line() -> None:
    text = "Das\u2028rote Haus. Wir trinken\nKaffee und Tee und mehr. Ja."
    assert " ".join(filter(None, resegment(text, LINES, "de"))).split() == text.split()


PROGRAM = """#!/usr/bin/env python3
import sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lines = open(given["-r"], encoding="utf-8").read().splitlines()
words = open(given["-t"], encoding="utf-8").read().split()
with open(given["-o"], "w", encoding="utf-8") as file:
    for number, line in enumerate(lines):
        print(given["-m"] if not words else words.pop(0), file=file)
"""


def test_mweralign_is_a_program_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program = tmp_path / "mweralign"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    assert resegment("eins zwei", ["a", "b", "c"], "de", "mweralign") == ["eins", "zwei", "none"]
    program.write_text("#!/bin/sh\necho no model >&2; exit 3\n")
    with pytest.raises(StcError, match=r"ended with 3[^$]*no model"):
        resegment("eins zwei", ["a"], "de", "mweralign")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="pip install mweralign"):
        resegment("eins zwei", ["a"], "de", "mweralign")

"""Lead-ins, quotation marks and loops are recognized in a text by itself, and what only looks like them is not."""

from __future__ import annotations

import json

import pytest

from stc.decoding.output_patterns import loop, without_lead_in, without_quotes
from stc.system.paths import ROOT

TALKS = sorted((ROOT / "assets" / "talks").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Here is the translation: Guten Tag.", "Guten Tag."),
        ("Sure! Here's the German translation: Guten Tag.", "Guten Tag."),
        ("Die Übersetzung lautet: „Guten Tag.“", "„Guten Tag.“"),
        ('The German translation of the text is "Guten Tag."', '"Guten Tag."'),
        ("The original content of this audio is: 'Good morning.'", "'Good morning.'"),
        ("翻译如下：早上好。", "早上好。"),
        ("以下是翻译：“早上好。”", "“早上好。”"),
        ("German: Guten Tag.", "Guten Tag."),
        ("Translation:", ""),
    ],
)
def test_lead_in_is_removed(text: str, rest: str) -> None:
    assert without_lead_in(text) == rest


@pytest.mark.parametrize(
    "text",
    [
        "Eines ist klar: Wir gehen.",
        "Die Übersetzung ist gut. Eines bleibt: der Preis.",
        'Er sagte "Guten Tag" und ging.',
        "Unsere Übersetzung läuft um 10:30.",
        "结果如下：我们赢了。",
    ],
)
def test_colon_or_quotation_by_itself_is_no_lead_in(text: str) -> None:
    assert without_lead_in(text) == text


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("„Guten Tag.“", "Guten Tag."),
        ('"Guten Tag".', "Guten Tag"),
        ("“早上好。”", "早上好。"),
        ("「おはよう」", "おはよう"),
        ('"Ja" und "Nein"', '"Ja" und "Nein"'),
        ("'s ist gut", "'s ist gut"),
        ('"', '"'),
    ],
)
def test_quotation_marks_are_removed_if_they_enclose_the_whole_text(text: str, inner: str) -> None:
    assert without_quotes(text) == inner


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Guten Tag. Guten Tag. Guten Tag. Guten Tag.", "Guten Tag."),
        ("Das ist der Mann, der Mann der MANN der Mann der", "Das ist der Mann,"),
        ("no no no no", "no"),
        ("我们去学校我们去学校我们去学校我们去学校", "我们去学校"),
        ("Ver" + "ung" * 12, "Verung"),
        ("!" * 30, "!"),
    ],
)
def test_loop_ends_with_its_first_copy(text: str, kept: str) -> None:
    assert text[: loop(text)] == kept


@pytest.mark.parametrize(
    "text", ["sehr, sehr gut", "谢谢，谢谢", "Hmmmmmm", "100,000,000", "Ein Hund. " * 3, "1, 2, 3, 4, 5, 6, 7, 8", ""]
)
def test_a_few_repetitions_are_no_loop(text: str) -> None:
    assert loop(text) is None


def test_number_of_copies_can_be_chosen() -> None:
    text = "Ein Hund. " * 3
    assert text[: loop(text, 3)] == "Ein Hund."
    assert loop(text, 4) is None


@pytest.mark.skipif(not TALKS, reason="the shipped corpus is not in this checkout")
def test_nothing_is_found_in_good_translations() -> None:
    rows = [json.loads(line) for file in TALKS for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [row[key] for row in rows for key in ("text_en", "text_de", "text_zh")]
    assert [text for text in texts if without_quotes(without_lead_in(text)) != text or loop(text) is not None] == []

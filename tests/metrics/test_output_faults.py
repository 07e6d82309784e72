"""What a model says instead of translating is counted, unless the reference says it too."""

from __future__ import annotations

import json

import pytest

from stc.data.manifest import Utterance
from stc.metrics.output_faults import output_faults
from stc.models.language_pair import Task
from stc.system.paths import ROOT

GERMAN = Task(target_lang="de", target_name="German")
CHINESE = Task(target_lang="zh", target_name="Chinese")
SOURCES = ["The red house stands near the river.", "We met Barack Obama in New York.", "Thank you very much."]
TARGETS = {
    "de": ["Das rote Haus steht am Fluss.", "Wir trafen Barack Obama in New York.", "Vielen Dank."],
    "zh": ["红房子在河边。", "我们在纽约见到了巴拉克·奥巴马。", "非常感谢。"],
}
TALKS = ROOT / "assets" / "talks" / "test.jsonl"


def faults(
    hypotheses: list[str],
    task: Task = GERMAN,
    references: list[str] | None = None,
    sources: list[str] = SOURCES,
    cut_off: int = 0,
) -> dict[str, int]:
    """The faults that there are, of translations of SOURCES."""
    pairs = zip(sources, references or TARGETS[task.target_lang], strict=True)
    rows = [
        Utterance(id=str(number), audio="a.wav", sha256="0" * 64, duration=1.0, source=source, target=target)
        for number, (source, target) in enumerate(pairs)
    ]
    counts = output_faults(hypotheses, [row.target for row in rows], [row.source for row in rows], task, cut_off)
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("task", [GERMAN, CHINESE])
def test_references_have_no_faults(task: Task) -> None:
    assert faults(TARGETS[task.target_lang], task) == {}


def test_each_fault_is_counted() -> None:
    said = ["Die Übersetzung: „Das rote Haus.“", "Wir Wir Wir Wir Wir", ""]
    assert faults(said, cut_off=2) == {"preambles": 1, "quoted": 1, "loops": 1, "empty": 1, "cut_off": 2}


@pytest.mark.parametrize("task", [GERMAN, CHINESE])
def test_english_answers_and_copies_of_the_source_are_counted(task: Task) -> None:
    first, second, _ = TARGETS[task.target_lang]
    assert faults(["It is a red house by a river", second, "thank you very much"], task) == {"source_language": 2}
    assert faults([first, *SOURCES[1:]], task) == {"source_language": 2}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (GERMAN, ["Haus", "Barack Obama, New York", "Danke"]),
        (GERMAN, ["PyTorch", "New York Times", "OK"]),
        (CHINESE, ["PyTorch", "Barack Obama", "OK。"]),
        (CHINESE, ["IBM 的红房子在河边", "我们在New York见到了奥巴马", "1958"]),
    ],
)
def test_names_and_short_texts_are_not_taken_for_the_source_language(task: Task, said: list[str]) -> None:
    assert faults(said, task) == {}


def test_what_the_reference_says_too_is_no_fault() -> None:
    sources = ["The translation is: “Good morning.”", "Go, go, go, go, go!", "Attention Is All You Need"]
    references = ["Die Übersetzung lautet: „Guten Morgen.“", "Los, los, los, los, los!", "Attention Is All You Need"]
    assert faults(references, references=references, sources=sources) == {}


def test_language_unknown_to_the_identifier_is_judged_by_copies() -> None:
    task = Task(target_lang="tlh", target_name="Klingon")
    assert faults([SOURCES[0], "nuqneH", "qatlho'"], task, references=TARGETS["de"]) == {"source_language": 1}


def test_transcripts_are_in_no_other_language() -> None:
    assert faults(SOURCES, Task(target_lang="en", target_name="English"), references=SOURCES) == {}


@pytest.mark.skipif(not TALKS.exists(), reason="the shipped corpus is not in this checkout")
@pytest.mark.parametrize("task", [GERMAN, CHINESE])
def test_shipped_references_are_in_the_target_language_and_their_sources_are_not(task: Task) -> None:
    rows = [json.loads(line) for line in TALKS.read_text(encoding="utf-8").splitlines()]
    sources, targets = [row["text_en"] for row in rows], [row[f"text_{task.target_lang}"] for row in rows]
    others = targets[1:] + targets[:1]
    assert faults(others, task, targets, sources) == {}
    english = faults(sources[1:] + sources[:1], task, targets, sources)
    assert english["source_language"] > 0.95 * len(rows)

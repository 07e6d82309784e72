"""Filters keep good translations of a teacher and drop bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from stc.data.manifest import Utterance
from stc.distillation.filters import Filters, han_share, repetition
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.system.paths import ROOT

GERMAN, CHINESE = Task(target_lang="de", target_name="German"), Task(target_lang="zh", target_name="Chinese")
SOURCE = "The red house stands near the river."


def dropped_by(
    text: str, task: Task = GERMAN, target: str = "Das rote Haus steht am Fluss.", **settings: Any
) -> list[str]:
    row = Utterance(id="1", audio="1.wav", sha256="", duration=1, source=SOURCE, target=target)
    return [name for name, keeps in Filters(**settings).active(task).items() if not keeps(row, text)]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [("Das rote Haus steht am Fluss.", False), ("Das", True), ("Das rote Haus steht am Fluss. " * 4, True)],
)
def test_length_is_compared_with_the_source(text: str, dropped: bool) -> None:
    assert dropped_by(text, length_ratio={"de": [0.5, 2.0]}) == ["length_ratio"] * dropped


def test_bounds_of_the_length_ratio_belong_to_the_range() -> None:
    text = "x" * len(SOURCE)
    assert dropped_by(text, length_ratio={"de": [1, 2]}) == dropped_by(text, length_ratio={"de": [0.5, 1]}) == []


def test_language_without_a_range_of_lengths_is_an_error() -> None:
    with pytest.raises(InputError, match=r"distill\.filters\.length_ratio\.zh="):
        dropped_by("红房子", CHINESE, length_ratio={"de": [0.5, 2.0]})


@pytest.mark.parametrize(
    ("tag", "range_of"), [("zh-TW", "zh"), ("zh-TW", "cmn"), ("de-AT", "deu"), ("zh-Hant", "zh_Hant")]
)
def test_range_of_lengths_holds_for_every_spelling_and_variant(tag: str, range_of: str) -> None:
    assert Filters(length_ratio={range_of: (0.1, 0.2)}).length_range(tag) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("ja ja ja ja", 2 / 3),
        ("Ja, ja, JA!", 1 / 2),  # one bigram of two is new
        ("der Hund und der Hund", 1 / 4),
        ("好的好的好的", 3 / 5),
        ("用 GPU 用 GPU", 1 / 3),
        ("Das rote Haus.", 0),
        ("Ja", 0),
        ("", 0),
    ],
)
def test_repetition_is_the_share_of_bigrams_that_were_there_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


def test_repetition_above_the_limit_is_dropped() -> None:
    assert dropped_by("ja ja ja ja", repetition=0.5) == ["repetition"]
    assert dropped_by("ja ja ja ja", repetition=0.7) == []


@pytest.mark.parametrize(
    ("text", "task", "dropped"),
    [
        ("Das rote Haus steht am Fluss.", GERMAN, False),
        (SOURCE, GERMAN, True),
        ("红房子在河边。", CHINESE, False),
        ("IBM 的红房子在河边。", CHINESE, False),
        (SOURCE, CHINESE, True),
        ("The red house 在河边 stands.", CHINESE, True),
        ("1958", CHINESE, False),
        ("1958", GERMAN, False),
        ("紅房子在河邊。", Task(target_lang="zh-TW", target_name="Chinese"), False),
        (SOURCE, Task(target_lang="yue", target_name="Cantonese"), True),
        ("Das rote Haus steht am Fluss.", Task(target_lang="de-AT", target_name="German"), False),
        ("Det røde huset ligger ved elva.", Task(target_lang="nb", target_name="Norwegian"), False),
        (SOURCE, Task(target_lang="nb", target_name="Norwegian"), True),
    ],
)
def test_language_is_known(text: str, task: Task, dropped: bool) -> None:
    assert dropped_by(text, task, language=True) == ["language"] * dropped


def test_language_unknown_to_the_identifier_is_an_error() -> None:
    with pytest.raises(InputError, match=r"distill\.filters\.language: .*tlh"):
        dropped_by("?", Task(target_lang="tlh", target_name="Klingon"), language=True)


def test_share_of_chinese_is_of_letters() -> None:
    assert han_share("2024年，GPU 的价格!") == 4 / 7


def test_translation_far_from_the_original_target_is_dropped() -> None:
    assert dropped_by("Das rote Haus steht am Fluss.", chrf=99) == []
    assert dropped_by("Wir trinken jeden Morgen Kaffee.", chrf=40) == ["score"]


def test_nothing_is_dropped_unless_it_is_asked_for() -> None:
    assert Filters().active(GERMAN) == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"length_ratio": {"de": [2.0, 0.5]}}, {"length_ratio": {"de": [0, 2]}}, {"length_ratio": {"de": [1]}},
        {"length_ratio": {"de": [1, 101]}}, {"repetition": 1}, {"repetition": -0.1}, {"chrf": 0}, {"chrf": 101},
        {"langauge": True},
    ],
)  # fmt: skip
def test_setting_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Filters(**settings)


@pytest.mark.parametrize("lang", ["de", "zh"])
def test_shipped_settings_drop_no_target_of_the_shipped_corpus(lang: str) -> None:
    from omegaconf import OmegaConf

    filters = Filters.model_validate(
        OmegaConf.to_container(OmegaConf.load(ROOT / "conf/distill/filtered.yaml").filters)
    )
    keep = filters.active(GERMAN if lang == "de" else CHINESE)
    rows = [json.loads(line) for line in (ROOT / "assets/talks/train.jsonl").read_text("utf-8").splitlines()]
    for line in rows:
        text = line[f"text_{lang}"]
        row = Utterance(id="1", audio="1", sha256="", duration=1, source=line["text_en"], target=text)
        assert [name for name, keeps in keep.items() if not keeps(row, text)] == [], text


def test_filters_come_without_the_identifier() -> None:
    code = "import sys, stc.distillation.filters; assert not {'numpy', 'py3langid', 'sacrebleu'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""The metrics of sacreBLEU, and scores from their sentence-level statistics."""

from __future__ import annotations

import re

import pytest
import sacrebleu

from stc.errors import ConfigError, InputError
from stc.metrics.metric import corpus_score, metric_named, score, statistics

GERMAN = (
    ["Das rote Haus steht am Fluss.", "Ein Hund läuft.", ""],
    ["Das rote Haus steht nah am Fluss.", "Ein kleiner Hund läuft über die Straße.", "Guten Morgen!"],
)
CHINESE = (["这座红房子在河边。", "一只狗跑了。"], ["红房子在河边。", "一只小狗跑过街道。"])


def test_german_scores_are_sacrebleus() -> None:
    hypotheses, references = GERMAN
    assert score("bleu", hypotheses, references, "de") == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert score("chrf", hypotheses, references, "de") == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert (
        score("chrf_pp", hypotheses, references, "de")
        == sacrebleu.corpus_chrf(hypotheses, [references], word_order=2).score
    )


def test_chinese_bleu_is_tokenized_by_character() -> None:
    hypotheses, references = CHINESE
    expected = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh").score
    assert score("bleu", hypotheses, references, "zh") == expected
    assert score("bleu", hypotheses, references, "de") != expected


@pytest.mark.parametrize("tag", ["zh-TW", "zh-CN", "zh-Hans", "yue"])
def test_bleu_treats_every_language_in_chinese_characters_alike(tag: str) -> None:
    assert score("bleu", *CHINESE, tag) == score("bleu", *CHINESE, "zh") > 0
    bleu = metric_named("bleu")
    assert bleu.signature(tag) == bleu.signature("zh")


@pytest.mark.parametrize(("tag", "package"), [("ja", "sacrebleu[ja]"), ("ko-KR", "sacrebleu[ko]")])
def test_bleu_names_a_missing_package_before_it_is_computed(
    tag: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ja", "ko"):
        monkeypatch.setattr(f"sacrebleu.tokenizers.tokenizer_{name}_mecab.MeCab", None)
    with pytest.raises(InputError, match=rf"pip install '{re.escape(package)}'"):
        metric_named("bleu").check_ready(tag)
    metric_named("chrf").check_ready(tag)
    metric_named("bleu").check_ready("ja-Latn")


@pytest.mark.parametrize("metric", ["bleu", "chrf", "chrf_pp"])
def test_score_of_a_subset_follows_from_its_rows_of_statistics(metric: str) -> None:
    hypotheses, references = GERMAN
    rows = statistics(metric, hypotheses, references, "de")
    assert corpus_score(metric, rows[:2]) == score(metric, hypotheses[:2], references[:2], "de")


def test_signature_says_how_text_was_tokenized() -> None:
    assert "|tok:zh|" in metric_named("bleu").signature("zh")
    assert "|tok:13a|" in metric_named("bleu").signature("de")
    assert "|nw:2|" in metric_named("chrf_pp").signature("de")
    assert "nrefs:1|" in metric_named("chrf").signature("zh")


def test_unknown_metric_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"chrfpp: .*did you mean 'chrf_pp'"):
        score("chrfpp", ["a"], ["a"], "de")


def test_unequal_numbers_of_sentences_are_refused() -> None:
    with pytest.raises(InputError, match="2 hypotheses for 1 references"):
        score("bleu", ["a", "b"], ["a"], "de")


def test_empty_corpus_is_refused() -> None:
    with pytest.raises(InputError, match="no sentences"):
        score("bleu", [], [], "de")


@pytest.mark.parametrize("tag", ["th", "km", "my"])
def test_bleu_of_a_script_without_spaces_counts_characters(tag: str) -> None:
    assert score("bleu", ["กขคงจฉ"], ["กขคงจช"], tag) > 50

"""The grammar: parts are disjoint, one English sentence has one translation, and the languages look as they should."""

from __future__ import annotations

import random
import re
from typing import get_args

import pytest

from talks import german
from talks.clause import de_finite
from talks.draw import PATTERNS, Draw
from talks.grammar import HELD_OUT_SHARE, PARTS, WORDS, Part, Sentence, generate, part_of
from talks.lexicon import ADJECTIVES, NOUNS, VERBS

COUNTS: dict[Part, int] = {"base": 36_000, "train": 3_000, "dev": 1_000, "selection": 1_000, "test": 4_000}
HELD_OUT = {name for name, pattern in PATTERNS.items() if pattern.held_out}


@pytest.fixture(scope="module")
def parts() -> dict[Part, list[Sentence]]:
    return {part: generate(3, count, part=part) for part, count in COUNTS.items()}


def test_parts_share_no_sentence(parts: dict[Part, list[Sentence]]) -> None:
    seen: dict[str, Part] = {}
    for part, sentences in parts.items():
        for sentence in sentences:
            key = re.sub(r"\W+", " ", sentence.en.lower())
            assert seen.setdefault(key, part) == part, sentence.en


def test_the_part_of_a_sentence_ignores_case_and_punctuation() -> None:
    assert part_of("We read the report, yesterday!") == part_of("we READ the report yesterday")
    assert set(PARTS) == set(get_args(Part)) == {part_of(f"sentence number {n}") for n in range(500)}


def test_other_seeds_stay_in_the_part() -> None:
    texts = {part: {s.en for seed in range(2) for s in generate(seed, 150, part=part)} for part in PARTS}
    for part in PARTS:
        assert all(part_of(text) == part for text in texts[part])


def test_held_out_patterns_appear_in_test_only(parts: dict[Part, list[Sentence]]) -> None:
    for part, sentences in parts.items():
        share = sum(sentence.pattern in HELD_OUT for sentence in sentences) / len(sentences)
        assert share == 0 if part != "test" else abs(share - HELD_OUT_SHARE) < 0.03


def test_an_english_sentence_has_one_translation(parts: dict[Part, list[Sentence]]) -> None:
    translations: dict[str, tuple[str, str]] = {}
    again = [sentence for part in PARTS for sentence in generate(4, 1000, part=part)]
    for sentence in [s for sentences in parts.values() for s in sentences] + again:
        assert translations.setdefault(sentence.en, (sentence.de, sentence.zh)) == (sentence.de, sentence.zh)


def test_no_sentence_comes_twice(parts: dict[Part, list[Sentence]]) -> None:
    for sentences in parts.values():
        assert len({sentence.en for sentence in sentences}) == len(sentences)


def test_the_same_seed_gives_the_same_sentences_and_a_longer_run_begins_alike() -> None:
    assert generate(9, 300, part="base")[:100] == generate(9, 100, part="base")
    assert generate(9, 100, part="base") != generate(10, 100, part="base")


def test_the_figures_of_the_corpus(parts: dict[Part, list[Sentence]]) -> None:
    words = {word for s in parts["base"] for word in re.findall(r"[a-z'-]+", s.en.lower())}
    assert len(PATTERNS) >= 80
    assert len({word for word in words if "-" not in word}) >= 500  # twenty-one is no word of its own
    assert len(HELD_OUT) >= 10
    assert len(NOUNS) + len(VERBS) + len(ADJECTIVES) >= 210
    lengths = {len(s.en.split()) for sentences in parts.values() for s in sentences}
    assert min(lengths) == WORDS[0]
    assert max(lengths) == WORDS[1]


def test_english_and_german_are_well_formed(parts: dict[Part, list[Sentence]]) -> None:
    for sentence in parts["base"] + parts["test"]:
        for text in (sentence.en, sentence.de):
            assert re.fullmatch(r"[A-ZÄÖÜ][\w '’,-]*\S[.?]", text), text
            assert "  " not in text
            assert " ," not in text
        assert (sentence.en[-1] == "?") == (sentence.de[-1] == "?") == (sentence.zh[-1] == "？")


def test_chinese_is_chinese(parts: dict[Part, list[Sentence]]) -> None:
    for sentence in parts["base"] + parts["test"]:
        assert re.fullmatch(r"(?:[\u4e00-\u9fff]|\d{4}年|，)+[。？]", sentence.zh), sentence.zh
        assert not re.search(r"(?<![十第])二[个位名份篇本封场次台张段项种门家所辆部块款条]", sentence.zh), sentence.zh
        assert "的的" not in sentence.zh
        assert not re.search("没有[^，。]{0,2}了", sentence.zh), sentence.zh


def test_german_separable_verbs_part_in_main_clauses_and_join_in_subordinate_ones(
    parts: dict[Part, list[Sentence]],
) -> None:
    progressive = [s.de for s in parts["base"] if s.pattern == "progressive" and " inviting " not in s.en]
    calling = [text for text in progressive if re.search(r"\b(ruft|rufen|rufe)\b", text)]
    assert calling
    assert all(text.endswith(" an.") for text in calling)
    subordinate = [s.de for s in parts["base"] if s.pattern == "while_doing" and "anruf" in s.de.split(",")[0]]
    assert subordinate
    assert all(re.search(r"\banruf(e|t|en),", text) for text in subordinate)


def words_and_signs(sentence: Sentence) -> set[str]:
    words = re.findall(r"[a-zäöüß]+(?:[-'][a-zäöüß]+)*", f"{sentence.en} {sentence.de}".lower())
    return {*words, *re.findall(r"[\u4e00-\u9fff]", sentence.zh)}


def test_held_out_patterns_say_nothing_that_others_do_not(parts: dict[Part, list[Sentence]]) -> None:
    draw, names = Draw(random.Random(5)), sorted(HELD_OUT)
    held_out = [Sentence(*PATTERNS[names[n % len(names)]].make(draw), "") for n in range(4_000)]
    known = {word for s in parts["base"] for word in words_and_signs(s)}
    assert {word for s in held_out for word in words_and_signs(s)} <= known


def of(parts: dict[Part, list[Sentence]], *patterns: str) -> list[Sentence]:
    found = [s for s in parts["base"] + parts["test"] if s.pattern in patterns]
    assert found
    return found


def test_zu_stands_inside_separable_verbs(parts: dict[Part, list[Sentence]]) -> None:
    aims = of(parts, "in_order_to", "in_order_to_modal", "decided_to", "asked_to", "without_doing")
    assert any(s.de.endswith(" vorzubereiten.") for s in aims)
    assert any(s.de.endswith(" abzusagen.") for s in aims)
    assert any(s.de.endswith(" zu lesen.") for s in aims)
    prefixed = [verb.infinitive for verb in VERBS if verb.prefix]
    assert not [s.de for s in aims if any(s.de.endswith(f" zu {verb}.") for verb in prefixed)]


def test_german_passives_end_in_a_participle(parts: dict[Part, list[Sentence]]) -> None:
    participles = tuple(f" {verb.de_forms[2]}" for verb in VERBS)
    assert all(s.de[:-1].endswith(participles) for s in of(parts, "passive", "passive_by", "passive_when"))
    final = [re.sub(r" wurden?[.]$", "", s.de) for s in of(parts, "that_passive")]
    assert all(text.endswith(participles) for text in final)
    assert all(s.de.endswith((" werden.", " worden.")) for s in of(parts, "passive_future", "passive_perfect"))


def test_chinese_says_bei_of_what_is_done_to_a_thing_only(parts: dict[Part, list[Sentence]]) -> None:
    done_to = {form for verb in VERBS if verb.zh_passive == "被" for form in verb.forms[3:4]}
    for s in of(parts, "passive", "passive_by", "passive_asked"):
        assert ("被" in s.zh) == bool(done_to & set(re.findall(r"\w+", s.en))), s
        assert "被" in s.zh or re.search("是.+的[。吗]", s.zh), s


def test_the_dative_plural_takes_its_n(parts: dict[Part, list[Sentence]]) -> None:
    bare = {noun.de_plural for noun in NOUNS if not noun.de_plural.endswith(("n", "s"))}
    singular = {noun.de for noun in NOUNS}
    found = [re.findall(r"\bmit (?:den|diesen) (?:\w+en )?([A-ZÄÖÜ]\w+)", s.de) for s in of(parts, "with_person")]
    assert any(found)
    assert not {noun for nouns in found for noun in nouns} & (bare - singular)


def test_german_contracts_preposition_and_article(parts: dict[Part, list[Sentence]]) -> None:
    for s in parts["base"]:
        assert not re.search(r"\b(?:zu de[mr]|von dem|an dem) ", s.de), s.de
    assert german.prepositional("zu", "der Methode") == "zur Methode"
    assert german.prepositional("von", "den Lehrern") == "von den Lehrern"


def test_ich_forms_keep_the_e_of_the_stem() -> None:
    forms = {verb.infinitive: de_finite(verb, "1s") for verb in VERBS}
    assert (forms["verbessern"], forms["sammeln"], forms["lesen"]) == ("verbessere", "sammle", "lese")


def test_a_negated_chinese_verb_goes_without_le(parts: dict[Part, list[Sentence]]) -> None:
    assert not [s.zh for s in of(parts, "past_negated", "perfect_negated", "could_not", "did_not_give") if "了" in s.zh]


@pytest.mark.parametrize(
    ("stem", "after", "key", "case", "form"),
    [
        ("neu", "der", "m", "acc", "neuen"),
        ("neu", "ein", "n", "nom", "neues"),
        ("neu", "", "p", "dat", "neuen"),
        ("teuer", "ein", "m", "nom", "teurer"),
        ("flexibel", "der", "f", "nom", "flexible"),
        ("berühmt", "mein", "m", "dat", "berühmten"),
    ],
)
def test_adjectives_decline(stem: str, after: str, key: str, case: german.Case, form: str) -> None:
    assert german.adjective(stem, after, key, case) == form


def test_weak_nouns_and_the_dative_plural() -> None:
    assert german.noun("Student", "Studenten", "m", "acc", weak=True, many=False) == "Studenten"
    assert german.noun("Berichte", "Berichte", "m", "dat", weak=False, many=True) == "Berichten"
    assert german.noun("Workshop", "Workshops", "m", "dat", weak=False, many=True) == "Workshops"


def test_superlatives() -> None:
    words = ("realistisch", "dringend", "komplex", "genau", "berühmt", "schnell", "groß")
    assert [german.superlative(word) for word in words] == [
        "realistischst", "dringendst", "komplexest", "genauest", "berühmtest", "schnellst", "größt",
    ]  # fmt: skip


def test_german_numbers() -> None:
    assert [german.cardinal(n) for n in (2, 16, 17, 20, 21, 30, 77)] == [
        "zwei", "sechzehn", "siebzehn", "zwanzig", "einundzwanzig", "dreißig", "siebenundsiebzig",
    ]  # fmt: skip
    assert [german.ordinal(n) for n in (1, 3, 7, 8, 12, 20)] == [
        "erst",
        "dritt",
        "siebt",
        "acht",
        "zwölft",
        "zwanzigst",
    ]


def test_words_are_listed_once() -> None:
    for words in ([noun.en for noun in NOUNS], [verb.forms[0] for verb in VERBS], [word.en for word in ADJECTIVES]):
        assert len(set(words)) == len(words)


def test_chinese_wants_now_what_is_to_be_later(parts: dict[Part, list[Sentence]]) -> None:
    wanting = [s.zh for s in of(parts, "modal", "would_like", "would_you_like") if "想" in s.zh.replace("想法", "")]
    assert any("想明天" in zh for zh in wanting)
    assert not [zh for zh in wanting if re.search("(明天|后天|下周|明年)想", zh)]


def test_collocations(parts: dict[Part, list[Sentence]]) -> None:
    sentences = [s for part in parts.values() for s in part]
    collected = [s.en for s in sentences if re.search(r"\bcollect", s.en)]
    assert collected
    assert all(re.search(r"\b(the|these) [\w ]*(results|samples|values|signals|recordings)\b", en) for en in collected)
    assert not [s.en for s in sentences if re.search(r"\bpublish\w* (\w+ ){1,2}(text)?books?\b", s.en)]
    assert not [s.zh for s in sentences if "课程" in s.zh and "举行" in s.zh]


def test_nobody_needs_a_place(parts: dict[Part, list[Sentence]]) -> None:
    places = "|".join(noun.en for noun in NOUNS if noun.has("place"))
    assert not [s.en for s in of(parts, "relative_object") if re.search(rf"need the ({places})\b", s.en)]


def test_german_says_how_often_after_a_definite_object(parts: dict[Part, list[Sentence]]) -> None:
    often = [s.de for s in of(parts, "habit") if re.search(" (immer|oft|selten) ", s.de)]
    assert not [text for text in often if re.search(" (immer|oft|selten) (d|dies)(as|e|en|er|es)? ", text)]
    assert [s.de for s in of(parts, "habit") if s.de.endswith((" oft.", " selten."))]


def test_chinese_puts_zai_before_what_is_intended(parts: dict[Part, list[Sentence]]) -> None:
    assert not [s.zh for s in of(parts, "first_then") if "再收到" in s.zh or "先收到" in s.zh]


def test_chinese_names_who_is_waited_for(parts: dict[Part, list[Sentence]]) -> None:
    for pronoun, zh in (("he", "他"), ("she", "她"), ("I", "我")):
        waited = [s for s in of(parts, "until") if f" until {pronoun} " in s.en]
        assert waited
        assert all(re.search(f"到{zh}(?!们)", s.zh) for s in waited)


def test_chinese_says_that_something_is_finished(parts: dict[Part, list[Sentence]]) -> None:
    done = of(parts, "passive_perfect")
    assert {s.zh.rpartition("已经")[2] for s in done if re.search(" (translated|prepared)[.]", s.en)} == {
        "翻译好了。", "准备好了。",
    }  # fmt: skip
    assert {s.zh.rpartition("已经")[2] for s in done if re.search(" (solved|deleted)[.]", s.en)} == {
        "解决了。", "被删除了。",
    }  # fmt: skip


def test_chinese_keeps_the_day_apart_from_the_hour(parts: dict[Part, list[Sentence]]) -> None:
    assert not [s.zh for s in of(parts, "clock") if re.search("星期[一二三四五六]十", s.zh)]
    assert [s.zh for s in of(parts, "clock") if "星期三的十" in s.zh]


def test_two_deeds_of_the_same_people_are_done_to_different_things(parts: dict[Part, list[Sentence]]) -> None:
    for s in of(parts, "in_order_to", "without_doing", "before", "first_then"):
        first, second = re.split(
            r", (?:then )?| to (?!\w+[.])| without ", s.en[:-1].removeprefix("Before "), maxsplit=1
        )
        assert first.split()[-1] != second.split()[-1], s.en

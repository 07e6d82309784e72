"""What things and people are like: description, comparison, possession."""

from talks import german, lexicon
from talks.clause import auxiliary, be, spoken
from talks.draw import Draw, Triple, pattern
from talks.lexicon import Adjective, Noun
from talks.phrases import Phrase, plural, singular

_DEGREES = (
    ("very", "sehr", "非常"),
    ("too", "zu", "太"),
    ("really", "wirklich", "真的很"),
    ("quite", "ziemlich", "相当"),
)
_DESCRIBED = "text idea method system device event plan problem talk data film point rule decision question place"


def _described(draw: Draw) -> tuple[Phrase, Adjective]:
    noun = draw.noun(_DESCRIBED)
    while noun.has("point") and not noun.has("rule"):  # advantages and reasons are not described by themselves
        noun = draw.noun(_DESCRIBED)
    many = draw.chance(0.4)
    phrase = plural(draw.pick(("the", "these", "our")), noun) if many else singular(
        draw.pick(("the", "this", "our", "my", "her")), noun)  # fmt: skip
    return phrase, draw.adjective(noun)


@pattern()
def thing_is(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    en, de, zh = draw.pick(_DEGREES)
    tail = "了" if zh == "太" else ""
    return spoken(
        f"{phrase.en} {be(phrase.person)} {en} {adjective.en}",
        f"{phrase.case('nom')} {auxiliary('sein', phrase.person)} {de} {adjective.de}",
        f"{phrase.zh}{zh}{adjective.zh_predicate}{tail}",
    )


@pattern(weight=0.7)
def thing_is_not(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    enough = draw.chance(0.5)
    en, de, zh = (f"{adjective.en} enough", f"{adjective.de} genug", "不够") if enough else (
        f"very {adjective.en}", f"sehr {adjective.de}", "不太")  # fmt: skip
    return spoken(
        f"{phrase.en} {be(phrase.person)} not {en}",
        f"{phrase.case('nom')} {auxiliary('sein', phrase.person)} nicht {de}",
        f"{phrase.zh}{zh}{adjective.zh_predicate}",
    )


@pattern(weight=0.8)
def is_it(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    return spoken(
        f"{be(phrase.person)} {phrase.en} really {adjective.en}",
        f"{auxiliary('sein', phrase.person)} {phrase.case('nom')} wirklich {adjective.de}",
        f"{phrase.zh}真的很{adjective.zh_predicate}吗",
        "?",
    )


@pattern(weight=0.8)
def mood(draw: Draw) -> Triple:
    who, time, word = draw.person(), draw.time("past"), draw.pick(lexicon.MOODS)
    en, de, zh = draw.pick((("very", "sehr", "非常"), ("a little", "ein wenig", "有点"), ("rather", "recht", "挺")))
    if zh == "有点" and word.en in ("satisfied", "patient", "optimistic"):  # 有点 is said of what one regrets
        en, de, zh = "very", "sehr", "非常"
    return spoken(
        f"{who.en} {be(who.person, past=True)} {en} {word.en} {time.en}",
        f"{who.case('nom')} {auxiliary('war', who.person)} {time.de} {de} {word.de}",
        f"{who.zh}{time.zh}{zh}{word.zh_predicate}{'的' if zh == '挺' else ''}",
    )


@pattern(weight=0.7)
def person_is(draw: Draw) -> Triple:
    noun = draw.noun("person")
    who = singular(draw.pick(("our", "my", "their", "this") if noun.has("known") else ("our", "this")), noun)
    adjective, (en, de, zh) = draw.adjective(noun), draw.pick(_DEGREES[2:])
    return spoken(
        f"{who.en} is {en} {adjective.en}",
        f"{who.case('nom')} ist {de} {adjective.de}",
        f"{who.zh}{zh}{adjective.zh_predicate}",
    )


def _pair_of_nouns(draw: Draw) -> tuple[Noun, Noun, Adjective]:
    """Two nouns that the same adjective can be said of."""
    while True:
        first = draw.noun("text idea system device event plan place film")
        second = draw.noun(first.tags)
        shared = set(first.tags.split()) & set(second.tags.split())
        fitting = [word for word in lexicon.ADJECTIVES if shared & set(word.tags.split())]
        if second is not first and fitting:
            return first, second, draw.pick(fitting)


def _pair(draw: Draw) -> tuple[Phrase, Phrase, Adjective]:
    first, second, adjective = _pair_of_nouns(draw)
    one = singular(draw.pick(("the", "this", "our")), first)
    return one, singular(draw.pick(("the", "my", "her")), second), adjective


@pattern(weight=1.2)
def comparative(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"{one.en} is {adjective.comparative} than {other.en}",
        f"{one.case('nom')} ist {german.comparative(adjective.de)} als {other.case('nom')}",
        _zh_more(one, other, adjective),
    )


def _zh_more(one: Phrase, other: Phrase, adjective: Adjective) -> str:
    more = "" if adjective.zh_predicate == "新" else "更"  # 更新 is to update
    return f"{one.zh}比{other.zh}{more}{adjective.zh_predicate}"


@pattern(weight=0.8)
def much_comparative(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"{one.en} is much {adjective.comparative} than {other.en}",
        f"{one.case('nom')} ist viel {german.comparative(adjective.de)} als {other.case('nom')}",
        f"{one.zh}比{other.zh}{adjective.zh_predicate}得多",
    )


@pattern()
def equal(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"{one.en} is as {adjective.en} as {other.en}",
        f"{one.case('nom')} ist so {adjective.de} wie {other.case('nom')}",
        f"{one.zh}和{other.zh}一样{adjective.zh_predicate}",
    )


@pattern(held_out=True)
def equal_asked(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"is {one.en} as {adjective.en} as {other.en}",
        f"ist {one.case('nom')} so {adjective.de} wie {other.case('nom')}",
        f"{one.zh}和{other.zh}一样{adjective.zh_predicate}吗",
        "?",
    )


@pattern(weight=0.8)
def superlative(draw: Draw) -> Triple:
    noun = draw.noun("text idea system device plan problem place")
    adjective, (city, stadt, shi) = draw.adjective(noun), draw.pick(lexicon.CITIES)
    en, de, zh = draw.pick((("this", "dies", "这"), ("that", "das", "那")))
    most = german.adjective(german.superlative(adjective.de), "der", noun.gender, "nom")
    return spoken(
        f"{en} is the {adjective.superlative} {noun.en} in {city}",
        f"{de} ist {german.determiner('der', noun.gender, 'nom')} {most} {noun.de} in {stadt}",
        f"{zh}是{shi}最{adjective.zh_predicate}的{noun.zh}",
    )


@pattern()
def one_of_the(draw: Draw) -> Triple:
    """One of the most important results: eines der wichtigsten Ergebnisse, 最重要的结果之一."""
    noun = draw.noun("text idea system problem place event method")
    adjective, (what, was, he) = draw.adjective(noun), draw.pick(
        (("this", "dies", "这"), ("that", "das", "那"))
    )  # fmt: skip
    most = german.adjective(german.superlative(adjective.de), "der", "p", "gen")
    many = german.noun(noun.de, noun.de_plural, noun.gender, "gen", weak=noun.weak, many=True)
    one = {"m": "einer", "f": "eine", "n": "eines"}[noun.gender]
    return spoken(
        f"{what} is one of the {adjective.superlative} {noun.plural}",
        f"{was} ist {one} der {most} {many}",
        f"{he}是最{adjective.zh_predicate}的{noun.zh}之一",
    )


@pattern(weight=0.8)
def belongs_to(draw: Draw) -> Triple:
    thing, who = draw.thing("device loan book", plain=True), draw.person()
    while thing.en.startswith(("our", "my", "his", "her", "their")):  # whose it is, is what the sentence says
        thing = draw.thing("device loan book", plain=True)
    owned = thing.zh_as_object
    many = thing.person == "3p"
    return spoken(
        f"{thing.en} {'belong' if many else 'belongs'} to {who.en}",
        f"{thing.case('nom')} {'gehören' if many else 'gehört'} {who.case('dat')}",
        f"{owned}是{who.zh_as_object}的",
    )


@pattern()
def more_asked(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"is {one.en} {adjective.comparative} than {other.en}",
        f"ist {one.case('nom')} {german.comparative(adjective.de)} als {other.case('nom')}",
        f"{_zh_more(one, other, adjective)}吗",
        "?",
    )


@pattern()
def not_equal(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    return spoken(
        f"{one.en} is not as {adjective.en} as {other.en}",
        f"{one.case('nom')} ist nicht so {adjective.de} wie {other.case('nom')}",
        f"{one.zh}没有{other.zh}那么{adjective.zh_predicate}",
    )


@pattern()
def equal_plural(draw: Draw) -> Triple:
    noun, other, adjective = _pair_of_nouns(draw)
    these, those = plural(draw.pick(("the", "these", "our")), noun), plural(draw.pick(("my", "his", "their")), other)
    no = draw.chance(0.3)
    alike = f"没有{those.zh}那么" if no else f"和{those.zh}一样"
    return spoken(
        f"{these.en} are {'not ' if no else ''}as {adjective.en} as {those.en}",
        f"{these.case('nom')} sind {'nicht ' if no else ''}so {adjective.de} wie {those.case('nom')}",
        f"{these.zh}{alike}{adjective.zh_predicate}",
    )


@pattern(weight=0.8)
def which_is_more(draw: Draw) -> Triple:
    one, other, adjective = _pair(draw)
    while adjective.zh_predicate == "新":
        one, other, adjective = _pair(draw)
    return spoken(
        f"which is {adjective.comparative}, {one.en} or {other.en}",
        f"was ist {german.comparative(adjective.de)}, {one.case('nom')} oder {other.case('nom')}",
        f"{one.zh}和{other.zh}，哪个更{adjective.zh_predicate}",
        "?",
    )


@pattern(weight=0.8)
def is_it_enough(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    en, de, zh = draw.pick(
        (
            ("too {}", "zu {}", "太{}了"),
            ("{} enough", "{} genug", "够{}"),
            ("not {} enough", "nicht {} genug", "不够{}"),
        )
    )
    return spoken(
        f"{be(phrase.person)} {phrase.en} {en.format(adjective.en)}",
        f"{auxiliary('sein', phrase.person)} {phrase.case('nom')} {de.format(adjective.de)}",
        f"{phrase.zh}{zh.format(adjective.zh_predicate)}吗",
        "?",
    )

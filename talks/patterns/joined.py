"""Two short clauses whose tenses have nothing to do with each other, or with what joins them."""

from collections.abc import Sequence
from dataclasses import replace

from talks.clause import Clause, Tense, spoken
from talks.draw import Draw, Triple, pattern, same_thing

_FREE: tuple[Tense, ...] = ("past", "progressive", "perfect", "future", "can", "must", "should", "want", "had to")


def _two(draw: Draw, first: Sequence[Tense], second: Sequence[Tense], words: int = 7) -> tuple[Clause, Clause]:
    """Of two people, about two things."""
    one, tense = _one(draw, draw.pick(first), words), draw.pick(second)
    while True:
        other = _one(draw, tense, words)
        if one.subject.en != other.subject.en and one.verb != other.verb and _apart(one, other):
            return one, other


def _apart(one: Clause, other: Clause) -> bool:
    return one.object is not None and other.object is not None and not same_thing(one.object, other.object)


def _one(draw: Draw, tense: Tense, words: int = 7) -> Clause:
    negated = tense not in ("must", "had to") and draw.chance(0.35)
    if tense == "want" and negated:  # "she does not want to" is five words already
        words += 3
    clause = draw.short(tense, words=words, negated=negated)
    while tense == "perfect" and not negated and clause.verb.forms[0] in ("look", "wait"):  # see the pattern perfect
        clause = draw.short(tense, words=words)
    return clause


@pattern(weight=1.2)
def one_and_other(draw: Draw) -> Triple:
    first, second = _two(draw, _FREE, _FREE)
    return spoken(
        f"{first.en()}, and {second.en()}", f"{first.de()}, und {second.de()}", f"{first.zh()}，{second.zh()}"
    )


@pattern(weight=1.2)
def one_but_other(draw: Draw) -> Triple:
    first, second = _two(draw, _FREE, _FREE)
    return spoken(
        f"{first.en()}, but {second.en()}", f"{first.de()}, aber {second.de()}", f"{first.zh()}，但是{second.zh()}"
    )


@pattern()
def and_now(draw: Draw) -> Triple:
    first, second = _two(
        draw, ("past", "perfect", "had to"), ("must", "can", "want", "future", "should", "progressive")
    )
    return spoken(
        f"{first.en()}, and now {second.en()}",
        f"{first.de()}, und jetzt {second.de_inverted()}".replace(" gerade", ""),
        f"{first.zh()}，现在{second.zh()}",
    )


@pattern(weight=1.2)
def then_and_now(draw: Draw) -> Triple:
    """What was done once, and what is to be done another time, both after their times."""
    first, second = _two(draw, ("past", "past", "had to"), ("must", "can", "want", "should", "might"), words=6)
    first = replace(first, time=draw.time("past", vague=False))
    second = replace(second, time=draw.time("future", vague=False))
    return spoken(
        f"{first.en_fronted()}, but {second.en_fronted()}",
        f"{first.de_fronted()}, aber {second.de_fronted()}",
        f"{first.zh_fronted()}，但是{second.zh_fronted()}",
    )

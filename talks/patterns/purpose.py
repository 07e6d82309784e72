"""What for, without what, instead of what: infinitives with um, ohne and statt."""

from talks.clause import Clause, Tense, spoken
from talks.draw import LASTING_VERBS, Draw, Triple, pattern, same_thing
from talks.phrases import PRONOUNS, Phrase

# What one does for the sake of something else, and what for.
_MEANS = (
    "read", "check", "use", "analyze", "collect", "buy", "borrow", "repeat", "discuss", "test", "improve", "write",
    "translate", "evaluate", "install", "develop", "design", "order", "measure", "change", "edit", "summarize", "visit",
)  # fmt: skip
_AIMS = (
    "solve", "improve", "explain", "prepare", "convince", "correct", "find", "finish", "reach", "avoid", "present",
    "publish", "answer", "prove", "choose", "help", "describe", "organize", "evaluate",
)  # fmt: skip


def _short_with(draw: Draw, tense: Tense, subject: Phrase, verbs: tuple[str, ...]) -> Clause:
    words = 10 if tense in ("had to", "would like") else 8  # or a long subject leaves no room for a verb
    while True:
        clause = draw.short(tense, words=words, subject=subject)
        if clause.verb.forms[0] in verbs:
            return clause


def _with_aim(draw: Draw, tense: Tense) -> tuple[Clause, Clause]:
    """A deed and what it is for, done by the same people."""
    subject = draw.subject()
    while True:
        deed, aim = _short_with(draw, tense, subject, _MEANS), _short_with(draw, "future", subject, _AIMS)
        if deed.object and aim.object and not same_thing(deed.object, aim.object):
            return deed, aim


def _two_deeds(draw: Draw) -> tuple[Clause, Clause]:
    """What was done, and what was not."""
    subject = draw.subject()
    while True:
        deed = draw.short(words=7, subject=subject, without=LASTING_VERBS)
        other = draw.short("want", words=9, subject=subject, without=deed.verb.forms[:1])
        if deed.object and other.object and not same_thing(deed.object, other.object):
            return deed, other


def _to(deed: Clause, aim: Clause) -> Triple:
    return spoken(
        f"{deed.en()} to {aim.en_infinitive()}",
        f"{deed.de()}, um {aim.de_infinitive()}",
        f"为了{aim.zh_bare()}，{deed.zh()}",
    )


@pattern(weight=1.2)
def in_order_to(draw: Draw) -> Triple:
    return _to(*_with_aim(draw, "past"))


@pattern(held_out=True)
def in_order_to_modal(draw: Draw) -> Triple:
    return _to(*_with_aim(draw, draw.pick(("must", "should"))))


@pattern(weight=1.2)
def in_order_to_can(draw: Draw) -> Triple:
    return _to(*_with_aim(draw, draw.pick(("can", "want", "would like", "had to"))))


@pattern()
def in_order_to_first(draw: Draw) -> Triple:
    return _in_order_to(*_with_aim(draw, "future"))


@pattern()
def in_order_to_first_modal(draw: Draw) -> Triple:
    return _in_order_to(*_with_aim(draw, draw.pick(("must", "should", "must", "should", "can", "had to"))))


def _in_order_to(deed: Clause, aim: Clause) -> Triple:
    return spoken(
        f"in order to {aim.en_infinitive()}, {deed.en()}",
        f"um {aim.de_infinitive()}, {deed.de_inverted()}",
        f"为了{aim.zh_bare()}，{deed.zh()}",
    )


@pattern()
def without_doing(draw: Draw) -> Triple:
    deed, other = _two_deeds(draw)
    return spoken(
        f"{deed.en()} without {_gerund(other)}",
        f"{deed.de()}, ohne {other.de_infinitive()}",
        f"{deed.subject.zh}没有{other.zh_bare()}就{deed.zh_predicate()}",
    )


@pattern()
def instead_of(draw: Draw) -> Triple:
    deed, other = _two_deeds(draw)
    return spoken(
        f"instead of {_gerund(other)}, {deed.en()}",
        f"statt {other.de_infinitive()}, {deed.de_inverted()}",
        f"{deed.subject.zh}没有{other.zh_bare()}，而是{deed.zh_predicate()}",
    )


def _gerund(clause: Clause) -> str:
    return f"{clause.verb.forms[4]} {clause.en_infinitive().split(' ', 1)[1]}"


@pattern()
def so_that(draw: Draw) -> Triple:
    return _so_that(draw, "future")


@pattern()
def so_that_modal(draw: Draw) -> Triple:
    return _so_that(draw, draw.pick(("must", "should", "want", "had to")))


def _so_that(draw: Draw, tense: Tense) -> Triple:
    first = draw.short(tense, words=7, subject=PRONOUNS[draw.pick(("I", "we"))])
    second = draw.short("can", words=7, subject=draw.pick((PRONOUNS["they"], draw.person())))
    return spoken(
        f"{first.en()} so that {second.en()}",
        f"{first.de()}, damit {second.de_final()}",
        f"{first.zh()}，好让{second.subject.zh_as_object}可以{second.zh_bare()}",
    )

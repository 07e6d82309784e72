"""Random choices of words and clauses that make sense together; what patterns are written with."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from talks import lexicon
from talks.clause import Clause, Tense, Triple
from talks.lexicon import Adjective, Adverbial, Noun, Verb
from talks.phrases import OBJECTS, PRONOUNS, Phrase, counted, fixed, plural, singular

T = TypeVar("T")


# What one does at no moment or place of its own.
LASTING_VERBS = ("avoid", "follow", "support")


@dataclass(frozen=True)
class Pattern:
    """A way to make sentences. ``weight``: how often, against 1. Held-out patterns are met in the test part only."""

    name: str
    make: Callable[[Draw], Triple]
    weight: float
    held_out: bool


PATTERNS: dict[str, Pattern] = {}


def pattern(*, weight: float = 1.0, held_out: bool = False) -> Callable[[Callable[[Draw], Triple]], None]:
    """Register a function from :class:`Draw` to (English, German, Chinese) under its name."""

    def register(make: Callable[[Draw], Triple]) -> None:
        name = make.__name__
        if name in PATTERNS:
            raise ValueError(f"pattern {name} is there twice")
        PATTERNS[name] = Pattern(name, make, weight, held_out)

    return register


@cache
def _nouns(tags: str) -> list[Noun]:
    wanted = set(tags.split())
    return [noun for noun in lexicon.NOUNS if wanted & set(noun.tags.split())]


@cache
def _adjectives(tags: str) -> list[Adjective]:
    wanted = set(tags.split())
    return [word for word in lexicon.ADJECTIVES if wanted & set(word.tags.split())]


@cache
def _times(kind: str) -> list[Adverbial]:
    return [time for time in lexicon.TIMES if time.kind == kind]


@cache
def _verbs(tense: Tense, tags: str) -> list[Verb]:
    wanted = set(tags.split())
    good = [verb for verb in lexicon.VERBS if not wanted or wanted & set(verb.takes.split())]
    if tense == "progressive":
        return [verb for verb in good if verb.durative and not verb.stative]
    if tense in ("can", "must", "should", "want", "would like", "had to"):
        good = [verb for verb in good if verb.willed]
    return [verb for verb in good if verb.stative == (tense == "present")]


@cache
def _transitive(passive: bool) -> list[tuple[Verb, str]]:
    verbs = [verb for verb in lexicon.VERBS if verb.plain_object and not verb.stative and not verb.several]
    tagged = [(verb, " ".join(tag for tag in verb.takes.split() if tag != "person")) for verb in verbs]
    return [(verb, tags) for verb, tags in tagged if tags and (verb.zh_passive or not passive)]


def same_thing(one: Phrase, other: Phrase) -> bool:
    """Whether both are said with the same noun, which one sentence had better not have twice."""
    return one.en.split()[-1].removesuffix("s") == other.en.split()[-1].removesuffix("s")


class Draw:
    """Seeded choices. Each method draws as many random numbers as it needs; the order of the words counts too."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, among: Sequence[T]) -> T:
        return among[int(self._rng.random() * len(among))]

    def chance(self, share: float) -> bool:
        return self._rng.random() < share

    def number(self, low: int, high: int) -> int:
        return low + int(self._rng.random() * (high - low + 1))

    def noun(self, tags: str) -> Noun:
        return self.pick(_nouns(tags))

    def adjective(self, noun: Noun) -> Adjective:
        return self.pick(
            [word for word in _adjectives(noun.tags) if not word.en.startswith(noun.en)]
        )  # friendly friend

    def time(self, kind: str, *, vague: bool = True) -> Adverbial:
        """``vague=False`` leaves out "recently" and "soon", which go ill with negation, modals and 将."""
        return self.pick([time for time in _times(kind) if vague or time.en not in ("recently", "soon")])

    def place(self) -> Adverbial:
        return self.pick(lexicon.PLACES)

    def person(self) -> Phrase:
        """A subject that is not a pronoun."""
        kind = self.number(1, 10)
        noun = self.noun("person")
        if kind <= 3:
            return self.name()
        if kind <= 5:
            return singular(self.pick(("the", "our", "my") if noun.has("known") else ("the", "our")), noun)
        if kind == 6:
            return singular(self.pick(("the", "our")), noun, self.adjective(noun))
        if kind <= 8:
            return plural(self.pick(("the", "our")), noun)
        name = self.pick(lexicon.SURNAMES)
        return fixed(f"Professor {name.en}", f"Professor {name.en}", f"{name.zh}教授", key="m")

    def name(self) -> Phrase:
        name = self.pick(lexicon.NAMES)
        return fixed(name.en, name.en, name.zh, key="m")

    def subject(self) -> Phrase:
        if self.chance(0.5):
            return PRONOUNS[self.pick(("I", "we", "he", "she", "they"))]
        return self.person()

    def other(self, subject: Phrase) -> Phrase:
        """An object pronoun that is not the subject's own."""
        first = subject.person in ("1s", "1p")
        return OBJECTS[self.pick(("he", "she", "they", "you") if first else ("I", "we"))]

    def thing(self, tags: str, *, plain: bool = False) -> Phrase:
        """An object: definite, possessive, indefinite or counted; ``plain`` leaves the last two out."""
        noun = self.noun(tags)
        adjective = None if self.chance(0.8 if noun.has("person") else 0.55) else self.adjective(noun)
        if "several" in tags.split():
            return plural(self.pick(("the", "these")), noun, adjective)
        if self.chance(0.55 if not plain else 0.7):
            return singular(self.pick(("the", "the", "this")), noun, adjective)
        owned = not noun.has("point") and (noun.has("known") or not noun.has("person"))  # a difference is nobody's
        if self.chance(0.3) and owned:
            return singular(self.pick(("our", "my", "her", "his", "their")), noun)
        if self.chance(0.5) or plain:
            return plural(self.pick(("the", "these")), noun, adjective)
        if self.chance(0.6):
            return singular("a", noun, adjective)
        return counted(self.number(2, 12), noun, adjective)

    def object(self, verb: Verb, subject: Phrase, *, plain: bool = False) -> Phrase:
        """What ``verb`` may be done to; for people sometimes a pronoun."""
        if "person" in verb.takes.split() and self.chance(0.25):
            return self.other(subject)
        while True:
            thing = self.thing(verb.takes, plain=plain)
            if not same_thing(thing, subject):
                return thing

    def verb(self, tense: Tense, tags: str = "") -> Verb:
        """One that can stand in ``tense``; with ``tags``, one whose object may be such a noun."""
        return self.pick(_verbs(tense, tags))

    def clause(
        self,
        tense: Tense,
        *,
        subject: Phrase | None = None,
        time: bool = False,
        place: bool = False,
        negated: bool = False,
        plain: bool = False,
    ) -> Clause:
        """A clause with a fitting object; ``time`` and ``place`` add adverbials, ``plain`` keeps it definite."""
        verb = self.verb(tense)
        kind = {"past": "past", "had to": "past", "could": "past"}.get(tense, "future")
        who = subject or self.subject()
        return Clause(
            who,
            verb,
            self.object(verb, who, plain=plain or (negated and tense != "past")),
            tense,
            negated,
            self.time(kind, vague=tense in ("past", "future") and not negated) if time else None,
            self.place() if place and not verb.stative and verb.takes != "place" else None,
        )

    def short(
        self,
        tense: Tense = "past",
        *,
        words: int = 7,
        negated: bool = False,
        subject: Phrase | None = None,
        without: Sequence[str] = (),
    ) -> Clause:
        """A clause with a definite object, of at most ``words`` English words, with none of the verbs ``without``."""
        while True:
            clause = self.clause(tense, plain=True, negated=negated, subject=subject)
            if len(clause.en().split()) <= words and clause.verb.forms[0] not in without:
                return clause

    def transitive(self, *, passive: bool = False) -> tuple[Verb, str]:
        """A verb with a bare object that is no person, and the tags of that object."""
        return self.pick(_transitive(passive))

    def habit(self) -> Clause:
        """Something done regularly."""
        verb = self.verb("progressive")  # what can go on can recur
        plain = self.thing(verb.takes, plain=True)
        if self.chance(0.5):
            return Clause(self.subject(), verb, plain, "present", time=self.time("frequency"))
        return Clause(self.subject(), verb, plain, "present", often=self.pick(lexicon.FREQUENCIES))

    def modal(self) -> Tense:
        return self.pick(("can", "must", "should", "want"))

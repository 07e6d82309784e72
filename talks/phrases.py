"""Noun phrases in three languages at once, and the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from talks import german
from talks.german import Case
from talks.lexicon import Adjective, Noun

Person = Literal["1s", "3s", "1p", "3p"]


@dataclass(frozen=True)
class Phrase:
    """A noun phrase. ``de`` is indexed by case in the order nom, acc, dat, gen.

    ``zh_object`` differs from ``zh`` for people: bare as a subject (教授), with a classifier as an object (这位教授).
    ``key`` is the gender, or ``p``, which a relative pronoun agrees with. ``negated``: how an indefinite phrase reads
    under negation (kein, and no 一个 in Chinese); None for a definite one. A ``pronoun`` as an object comes before
    German adverbials.
    """

    en: str
    de: tuple[str, str, str, str]
    zh: str
    person: Person = "3s"
    key: str = "n"
    zh_object: str = ""
    negated: Phrase | None = None
    pronoun: bool = False

    def case(self, case: Case) -> str:
        return self.de[("nom", "acc", "dat", "gen").index(case)]

    @property
    def zh_as_object(self) -> str:
        return self.zh_object or self.zh


def fixed(en: str, de: str, zh: str, person: Person = "3s", key: str = "n") -> Phrase:
    """A phrase whose German does not inflect, such as a name."""
    return Phrase(en, (de, de, de, de), zh, person, key)


PRONOUNS = {
    "I": Phrase("I", ("ich", "mich", "mir", ""), "我", "1s"),
    "we": Phrase("we", ("wir", "uns", "uns", ""), "我们", "1p"),
    "he": Phrase("he", ("er", "ihn", "ihm", ""), "他", "3s"),
    "she": Phrase("she", ("sie", "sie", "ihr", ""), "她", "3s"),
    "they": Phrase("they", ("sie", "sie", "ihnen", ""), "他们", "3p"),
    "you": Phrase("you", ("Sie", "Sie", "Ihnen", ""), "您", "3p"),
}

# The same as objects: "us", uns, 我们.
OBJECTS = {
    subject: replace(PRONOUNS[subject], en=en, pronoun=True)
    for subject, en in (("I", "me"), ("we", "us"), ("he", "him"), ("she", "her"), ("they", "them"), ("you", "you"))
}

# English determiner → (German stem, Chinese prefix before the classifier, Chinese classifier wanted).
_DETERMINERS: dict[str, tuple[str, str, bool]] = {
    "the": ("der", "这", True),
    "this": ("dies", "这", True),
    "a": ("ein", "一", True),
    "my": ("mein", "我的", False),
    "their": ("ihr", "他们的", False),
    "our": ("unser", "我们的", False),
    "his": ("sein", "他的", False),
    "her": ("ihr", "她的", False),
    "your": ("Ihr", "您的", False),
    "every": ("jed", "每", True),
    "which": ("welch", "哪", True),
    "no": ("kein", "", False),
}


def zh_number(number: int) -> str:
    """1 to 99 as read out; 2 before a classifier is :func:`zh_count`'s business."""
    digits = "零一二三四五六七八九"
    tens, unit = divmod(number, 10)
    head = "" if tens == 0 else ("十" if tens == 1 else digits[tens] + "十")
    return head + (digits[unit] if unit or not tens else "")


def zh_count(number: int, classifier: str) -> str:
    return ("两" if number == 2 else zh_number(number)) + classifier


_SMALL = (
    "zero one two three four five six seven eight nine ten eleven "
    "twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"


def en_number(number: int) -> str:
    small = _SMALL.split()
    if number < 20:
        return small[number]
    tens, unit = divmod(number, 10)
    word = _TENS.split()[tens]
    return f"{word}-{small[unit]}" if unit else word


def join(*words: str) -> str:
    """With single spaces, without the empty ones."""
    return " ".join(word for word in words if word)


def _cases(noun: Noun, stem: str, adjective: Adjective | None, key: str) -> tuple[str, str, str, str]:
    def one(case: Case) -> str:
        return join(
            german.determiner(stem, key, case),
            german.adjective(adjective.de, stem, key, case) if adjective else "",
            german.noun(noun.de, noun.de_plural, noun.gender, case, weak=noun.weak, many=key == "p"),
        )

    return one("nom"), one("acc"), one("dat"), one("gen")


def _starts_with_vowel(word: str) -> bool:
    return word[0] in "aeio" or word.startswith("ur")  # other words in u- begin as "you" does


def _before(zh: str, adjective: Adjective | None) -> str:
    """A Chinese possessive, which goes without 的 before an adjective that has its own: 我们著名的教授."""
    return zh.removesuffix("的") if adjective and adjective.zh.endswith("的") else zh


def singular(determiner: str, noun: Noun, adjective: Adjective | None = None) -> Phrase:
    """``the report``, ``a new idea``, ``our method``; determiners are those of ``_DETERMINERS``."""
    stem, zh, classified = _DETERMINERS[determiner]
    described = (adjective.en + " " if adjective else "") + noun.en
    article = "an" if determiner == "a" and _starts_with_vowel(described) else determiner
    core = (adjective.zh if adjective else "") + noun.zh
    zh = _before(zh, adjective)
    counted = zh + (noun.classifier if classified else "") + core
    bare = noun.has("person") and determiner == "the" and adjective is None
    return Phrase(
        f"{article} {described}",
        _cases(noun, stem, adjective, noun.gender),
        core if bare else counted,
        "3s",
        noun.gender,
        zh_object=counted if bare else "",
        negated=replace(singular("no", noun, adjective), en=f"{article} {described}") if determiner == "a" else None,
    )


def plural(determiner: str, noun: Noun, adjective: Adjective | None = None) -> Phrase:
    """``the reports``, ``these results``, ``our new methods``, or bare ``reports`` for an empty determiner."""
    stem, zh = {
        "the": ("der", "这些"),
        "these": ("dies", "这些"),
        "our": ("unser", "我们的"),
        "their": ("ihr", "他们的"),
        "my": ("mein", "我的"),
        "his": ("sein", "他的"),
        "all the": ("all", "所有"),
        "many": ("viele", "许多"),
        "some": ("einige", "一些"),
        "": ("", ""),
    }[determiner]
    if stem in ("viele", "einige"):  # declined as a strong adjective
        forms = [
            join(stem + {"dat": "n", "gen": "r"}.get(case, ""), form)
            for case, form in zip(("nom", "acc", "dat", "gen"), _cases(noun, "", adjective, "p"), strict=True)
        ]
        cases = (forms[0], forms[1], forms[2], forms[3])
    else:
        cases = _cases(noun, stem, adjective, "p")
    core = (adjective.zh if adjective else "") + noun.zh
    zh = _before(zh, adjective)
    bare = noun.has("person") and determiner == "the" and adjective is None
    return Phrase(
        join(determiner, adjective.en if adjective else "", noun.plural),
        cases,
        core + ("" if core.endswith("人员") else "们") if bare else zh + core,
        "3p",
        "p",
        zh_object=f"这些{core}" if bare else "",
    )


def counted(number: int, noun: Noun, adjective: Adjective | None = None) -> Phrase:
    """``three new reports``: 2 to 99 of something."""
    core = (adjective.zh if adjective else "") + noun.zh
    return Phrase(
        join(en_number(number), adjective.en if adjective else "", noun.plural),
        _cases(noun, german.cardinal(number), adjective, "p"),
        zh_count(number, noun.classifier) + core,
        "3p",
        "p",
    )

"""What a word has to tell about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from talks.german import Case, Gender


@dataclass(frozen=True)
class Noun:
    """``plural`` and ``de_plural`` are nominatives; ``classifier`` counts it in Chinese; ``weak``: der Student, den
    Studenten."""

    en: str
    plural: str
    de: str
    gender: Gender
    de_plural: str
    zh: str
    classifier: str
    tags: str
    weak: bool = False

    def has(self, tag: str) -> bool:
        return tag in self.tags.split()


@dataclass(frozen=True)
class Verb:
    """A transitive verb.

    ``en``: base, third person, past, participle, gerund. ``de``: infinitive and third person without the separable
    ``prefix``, then the participle; the perfect is formed with ``haben``. ``preposition`` and ``case`` rule the German
    object. ``stative`` verbs stand in the simple present without an adverb of frequency; only ``durative`` ones are in
    progress or repeated. ``zh`` with ``{}`` says where the object stands, ``~`` where the aspect particle does; plain
    verbs have both right after them. ``zh_passive``: a past passive reads 是…的, or 被 where what happened is done to
    the thing; empty for verbs that Chinese does not turn around. Nobody wants, has or decides to do what
    is not ``willed``, such as receiving. What ``takes`` ``several`` has objects in the plural, such as collecting.
    """

    en: str
    de: str
    zh: str
    takes: str
    prefix: str = ""
    en_preposition: str = ""
    preposition: str = ""
    case: Case = "acc"
    stative: bool = False
    durative: bool = True
    zh_passive: Literal["是", "被", ""] = "是"
    willed: bool = True

    @property
    def forms(self) -> list[str]:
        return self.en.split()

    @property
    def de_forms(self) -> list[str]:
        return self.de.split()

    @property
    def infinitive(self) -> str:
        return self.prefix + self.de_forms[0]

    @property
    def zu_infinitive(self) -> str:
        """``zu lesen``, ``abzusagen``."""
        return f"{self.prefix}zu{self.de_forms[0]}" if self.prefix else f"zu {self.de_forms[0]}"

    @property
    def several(self) -> bool:
        return "several" in self.takes.split()

    @property
    def plain_object(self) -> bool:
        """A bare accusative object, which can be the subject of a passive or the head of a relative clause."""
        return not self.preposition and not self.en_preposition and self.case == "acc" and "{}" not in self.zh


@dataclass(frozen=True)
class Adjective:
    """``zh`` stands before a noun (with 的 where Chinese wants it), ``zh_predicate`` after 很, 更 and 最.

    ``tags``: the nouns it goes with. ``forms``: comparative and superlative; empty where English uses more and most.
    """

    en: str
    de: str
    zh: str
    zh_predicate: str
    tags: str
    forms: str = ""

    @property
    def comparative(self) -> str:
        return self.forms.split()[0] if self.forms else f"more {self.en}"

    @property
    def superlative(self) -> str:
        return self.forms.split()[1] if self.forms else f"most {self.en}"


@dataclass(frozen=True)
class Adverbial:
    """A time or a place; ``de`` and ``zh`` as they stand in the middle of a clause."""

    en: str
    de: str
    zh: str
    kind: Literal["past", "future", "frequency", "place"] = "place"


@dataclass(frozen=True)
class Name:
    en: str
    zh: str

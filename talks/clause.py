"""Clauses in three languages at once.

A :class:`Clause` is abstract (subject, verb, object, time, place, tense, polarity); its methods say it in the word
orders the patterns need: English statements and questions; German verb-second, verb-first, verb-final and infinitive;
Chinese with aspect by particle and adverb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from talks.german import prepositional
from talks.lexicon import Adverbial, Verb
from talks.phrases import Person, Phrase, join

Tense = Literal[
    "present", "progressive", "past", "perfect", "never", "ever", "pluperfect",
    "future", "can", "must", "should", "want", "would", "might", "had to", "could", "would like",
]  # fmt: skip
Triple = tuple[str, str, str]

_AUXILIARIES: dict[str, dict[Person, str]] = {
    "haben": {"1s": "habe", "3s": "hat", "1p": "haben", "3p": "haben"},
    "hatte": {"1s": "hatte", "3s": "hatte", "1p": "hatten", "3p": "hatten"},
    "sein": {"1s": "bin", "3s": "ist", "1p": "sind", "3p": "sind"},
    "war": {"1s": "war", "3s": "war", "1p": "waren", "3p": "waren"},
    "future": {"1s": "werde", "3s": "wird", "1p": "werden", "3p": "werden"},
    "wurde": {"1s": "wurde", "3s": "wurde", "1p": "wurden", "3p": "wurden"},
    "can": {"1s": "kann", "3s": "kann", "1p": "können", "3p": "können"},
    "must": {"1s": "muss", "3s": "muss", "1p": "müssen", "3p": "müssen"},
    "should": {"1s": "sollte", "3s": "sollte", "1p": "sollten", "3p": "sollten"},
    "want": {"1s": "will", "3s": "will", "1p": "wollen", "3p": "wollen"},
    "would": {"1s": "würde", "3s": "würde", "1p": "würden", "3p": "würden"},
    "might": {"1s": "könnte", "3s": "könnte", "1p": "könnten", "3p": "könnten"},
    "had to": {"1s": "musste", "3s": "musste", "1p": "mussten", "3p": "mussten"},
    "could": {"1s": "konnte", "3s": "konnte", "1p": "konnten", "3p": "konnten"},
    "would like": {"1s": "möchte", "3s": "möchte", "1p": "möchten", "3p": "möchten"},
}
# Tenses with an auxiliary that is the same in all persons, as English affirms and denies with it.
_EN_MODALS: dict[Tense, tuple[str, str]] = {
    "future": ("will", "will not"),
    "can": ("can", "cannot"),
    "should": ("should", "should not"),
    "would": ("would", "would not"),
    "might": ("might", "might not"),
    "could": ("could", "could not"),
    "would like": ("would", "would not"),
}
# How English names a tense before a base that needs "to".
_EN_TO: dict[Tense, str] = {"want": "want to", "must": "have to", "had to": "have to", "would like": "like to"}
# What stands before the Chinese verb, affirmed and negated. A place makes 在 of the progressive superfluous.
_ZH_HELPERS: dict[Tense, tuple[str, str]] = {
    "present": ("", "不"),
    "progressive": ("正在", "没有在"),
    "past": ("", "没有"),
    "perfect": ("已经", "还没有"),
    "never": ("从来没有", ""),
    "ever": ("", ""),
    "pluperfect": ("", "没有"),
    "future": ("会", "不会"),
    "can": ("可以", "不能"),
    "must": ("必须", "不必"),
    "should": ("应该", "不应该"),
    "want": ("想", "不想"),
    "would": ("会", "不会"),
    "might": ("可能会", "可能不会"),
    "had to": ("不得不", "不用"),
    "could": ("能", "没能"),
    "would like": ("想", "不想"),
}


def auxiliary(verb: str, person: Person) -> str:
    """A form of haben, sein, war (the past of sein), wurde, or of the German auxiliary of a tense."""
    return _AUXILIARIES[verb][person]


def be(person: Person, past: bool = False) -> str:
    if past:
        return "was" if person in ("1s", "3s") else "were"
    return {"1s": "am", "3s": "is"}.get(person, "are")


def de_finite(verb: Verb, person: Person) -> str:
    """Present tense without the separable prefix."""
    infinitive, third, _ = verb.de_forms
    if person == "3s":
        return third
    if person != "1s":
        return infinitive
    if infinitive.endswith("eln"):  # sammeln → sammle
        return infinitive[:-3] + "le"
    return infinitive[:-1] + ("e" if infinitive.endswith("ern") else "")  # verbessern → verbessere


@dataclass(frozen=True)
class Clause:
    """``time`` is said as the tense asks for: a past adverbial with the past, and so on."""

    subject: Phrase
    verb: Verb
    object: Phrase | None
    tense: Tense
    negated: bool = False
    time: Adverbial | None = None
    place: Adverbial | None = None
    often: Adverbial | None = None  # stands before the verb in English

    # English

    def _en_verb(self, *, asked: bool = False) -> tuple[str, str]:
        """The auxiliary (empty for a plain present or past) and the rest of the verb; ``asked``: always with one."""
        base, third, past, participle, gerund = self.verb.forms
        singular = self.subject.person == "3s"
        no = " not" if self.negated else ""
        has = "has" if singular else "have"
        to = f"{_EN_TO[self.tense]} {base}" if self.tense in _EN_TO else base
        if self.tense in _EN_MODALS:
            return _EN_MODALS[self.tense][self.negated], to
        match self.tense:
            case "progressive":
                return be(self.subject.person) + no, gerund
            case "perfect":
                return (has + no, participle) if self.negated else (has, f"already {participle}")
            case "never" | "ever":
                return has, f"{self.tense} {participle}"
            case "pluperfect":
                return "had" + no, participle
            case "must" if not self.negated:
                return "must", base
        if self.negated or asked:
            does = "did" if self.tense in ("past", "had to") else ("does" if singular else "do")
            return does + no, to
        if self.tense == "past":
            return "", past
        if self.tense == "had to":
            return "", f"had to {base}"
        if self.tense == "want":
            return "", f"{'wants' if singular else 'want'} to {base}"
        return "", third if singular else base

    def _en_tail(self) -> str:
        yet = "yet" if self.tense == "perfect" and self.negated else ""
        return join(
            self.verb.en_preposition,
            self.object.en if self.object else "",
            self.place.en if self.place else "",
            self.time.en if self.time else "",
            yet,
        )

    def en(self) -> str:
        """``we read the report in the library yesterday``."""
        return f"{self.subject.en} {self.en_predicate()}"

    def en_predicate(self) -> str:
        helper, verb = self._en_verb()
        return join(helper, self.often.en if self.often else "", verb, self._en_tail())

    def en_fronted(self) -> str:
        """``yesterday we read the report``; needs a time."""
        assert self.time is not None
        return f"{self.time.en} {replace(self, time=None).en()}"

    def en_question(self) -> str:
        """``did we read the report yesterday``."""
        helper, verb = self._en_verb(asked=True)
        helper, _, no = helper.partition(" ")
        return join(helper, self.subject.en, no, self.often.en if self.often else "", verb, self._en_tail())

    def en_infinitive(self) -> str:
        """``read the report in the library``."""
        return f"{self.verb.forms[0]} {self._en_tail()}"

    # German

    def _de_verb(self) -> tuple[str, str]:
        """The finite verb and what closes the clause."""
        person = self.subject.person
        match self.tense:
            case "past" | "perfect" | "never" | "ever":
                return auxiliary("haben", person), self.verb.de_forms[2]
            case "pluperfect":
                return auxiliary("hatte", person), self.verb.de_forms[2]
            case "present" | "progressive":
                return de_finite(self.verb, person), self.verb.prefix
        return auxiliary(self.tense, person), self.verb.infinitive

    def _de_middle(self, *, time: bool = True) -> str:
        """Between the verbs: when before a definite object, how often and where after it, an indefinite object last."""
        adverb = {
            "progressive": "gerade",
            "perfect": "noch" if self.negated else "schon",
            "never": "noch nie",
            "ever": "schon einmal",
        }.get(self.tense, "")
        when = join(
            self.often.de if self.often else "",
            self.time.de if self.time and time else "",
            "" if self.often else adverb,
        )
        where = self.place.de if self.place else ""
        no = "nicht" if self.negated else ""
        if self.object is None:
            return join(when, no, where)
        if self.verb.preposition:
            return join(when, no, where, prepositional(self.verb.preposition, self.object.case(self.verb.case)))
        if self.object.negated is not None:
            phrase = self.object.negated if self.negated and self.object.negated else self.object
            return join(when, where, phrase.case(self.verb.case))
        what = self.object.case(self.verb.case)
        late = self.often is not None and self.often.de in ("immer", "oft", "selten")  # liest den Bericht oft
        if self.object.pronoun or self.negated or late or self.tense in ("perfect", "never", "ever"):
            return join(what, when, no, where)
        return join(when, what, where)

    def de(self) -> str:
        """Verb second: ``wir haben gestern den Bericht gelesen``."""
        finite, end = self._de_verb()
        return join(self.subject.case("nom"), finite, self._de_middle(), end)

    def de_inverted(self, *, time: bool = True) -> str:
        """Verb first, for questions and after a fronted element: ``haben wir gestern den Bericht gelesen``."""
        finite, end = self._de_verb()
        return join(finite, self.subject.case("nom"), self._de_middle(time=time), end)

    def de_fronted(self) -> str:
        assert self.time is not None
        return f"{self.time.de} {self.de_inverted(time=False)}"

    def de_final(self, *, subject: bool = True) -> str:
        """Verb last: ``wir gestern den Bericht gelesen haben``; for a relative clause without its subject."""
        finite, end = self._de_verb()
        verb = end + finite if end and end == self.verb.prefix else join(end, finite)
        return join(self.subject.case("nom") if subject else "", self._de_middle(), verb)

    def de_infinitive(self, *, zu: bool = True) -> str:
        """``den Bericht in der Bibliothek zu lesen``, ``die Besprechung abzusagen``."""
        return join(self._de_middle(), self.verb.zu_infinitive if zu else self.verb.infinitive)

    # Chinese

    def _zh_object(self) -> str:
        if self.object is None:
            return ""
        phrase = self.object.negated if self.negated and self.object.negated is not None else self.object
        return phrase.zh_as_object

    def zh_bare(self, particle: str = "") -> str:
        """Place, verb and object, with nothing that tells the tense but ``particle``."""
        template = self.verb.zh if "{}" in self.verb.zh else self.verb.zh + "~{}"
        where = self.place.zh if self.place else ""
        return where + template.replace("~", particle).format(self._zh_object())

    def zh_predicate(self, *, aspect: bool = True) -> str:
        """Without the subject. ``aspect=False`` for a clause before 的, which goes without 了."""
        when = (self.time.zh if self.time else "") + (self.often.zh if self.often else "")
        helper = _ZH_HELPERS[self.tense][self.negated]
        particle = ""
        if self.tense in ("never", "ever"):
            particle = "过"
        elif aspect and not self.negated and self.tense in ("past", "perfect"):
            particle = "了"
        if self.tense in ("want", "would like"):  # one wants it now: 想明天见, not 明天想见
            return helper + when + self.zh_bare()
        if self.tense == "progressive":
            if self.often and not self.negated:  # 还在, not 还正在
                helper = "在"
            if self.place:
                helper = helper.removesuffix("在")
        return when + helper + self.zh_bare(particle)

    def zh(self, *, aspect: bool = True) -> str:
        return self.subject.zh + self.zh_predicate(aspect=aspect)

    def zh_fronted(self) -> str:
        assert self.time is not None
        return self.time.zh + replace(self, time=None).zh()


def sentence(text: str, end: str = ".") -> str:
    """Capitalise and close a sentence of English or German."""
    return text[0].upper() + text[1:] + end


def spoken(en: str, de: str, zh: str, end: str = ".") -> Triple:
    """The three sentences, capitalised and closed; ``end`` is a full stop or a question mark."""
    return sentence(en, end), sentence(de, end), zh + {".": "。", "?": "？"}[end]


def stated(clause: Clause) -> Triple:
    return spoken(clause.en(), clause.de(), clause.zh())

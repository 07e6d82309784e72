"""Clauses in three languages at once.

A :class:`Clause` is abstract (subject, verb, object, time, place, tense, polarity); its methods say it in the word
orders the patterns need: English statements and questions; German verb-second, verb-first and verb-final; Chinese
with aspect by particle and adverb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from stc.corpus.lexicon import Adverbial, Verb
from stc.corpus.phrases import Person, Phrase, join

Tense = Literal["present", "progressive", "past", "perfect", "future", "can", "must", "should", "want"]

_AUXILIARIES: dict[str, dict[Person, str]] = {
    "haben": {"1s": "habe", "3s": "hat", "1p": "haben", "3p": "haben"},
    "sein": {"1s": "bin", "3s": "ist", "1p": "sind", "3p": "sind"},
    "war": {"1s": "war", "3s": "war", "1p": "waren", "3p": "waren"},
    "werden": {"1s": "werde", "3s": "wird", "1p": "werden", "3p": "werden"},
    "can": {"1s": "kann", "3s": "kann", "1p": "können", "3p": "können"},
    "must": {"1s": "muss", "3s": "muss", "1p": "müssen", "3p": "müssen"},
    "should": {"1s": "sollte", "3s": "sollte", "1p": "sollten", "3p": "sollten"},
    "want": {"1s": "will", "3s": "will", "1p": "wollen", "3p": "wollen"},
}
_ZH_MODALS = {"can": ("可以", "不能"), "must": ("必须", "不必"), "should": ("应该", "不应该"), "want": ("想", "不想")}


def auxiliary(verb: str, person: Person) -> str:
    """A form of haben, sein, war (the past of sein), werden, or of the German of an English modal."""
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
    return infinitive[:-1]


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

    def _en_verb(self) -> tuple[str, str]:
        """The auxiliary (empty for a plain present or past) and the rest of the verb."""
        base, third, past, participle, gerund = self.verb.forms
        singular = self.subject.person == "3s"
        no = " not" if self.negated else ""
        match self.tense:
            case "progressive":
                return be(self.subject.person) + no, gerund
            case "perfect":
                has = "has" if singular else "have"
                return (has + no, participle) if self.negated else (has, f"already {participle}")
            case "future":
                return "will" + no, base
            case "can":
                return "cannot" if self.negated else "can", base
            case "must":
                return ("does not" if singular else "do not", f"have to {base}") if self.negated else ("must", base)
            case "should":
                return "should" + no, base
            case "want":
                if self.negated:
                    return "does not" if singular else "do not", f"want to {base}"
                return "", f"{'wants' if singular else 'want'} to {base}"
            case "past":
                return ("did not", base) if self.negated else ("", past)
        if self.negated:
            return "does not" if singular else "do not", base
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
        helper, verb = self._en_verb()
        return join(self.subject.en, helper, self.often.en if self.often else "", verb, self._en_tail())

    def en_fronted(self) -> str:
        """``yesterday we read the report``; needs a time."""
        assert self.time is not None
        return f"{self.time.en} {replace(self, time=None).en()}"

    def en_question(self) -> str:
        """``did we read the report yesterday``."""
        helper, verb = self._en_verb()
        if not helper:
            singular = self.subject.person == "3s"
            helper = "did" if self.tense == "past" else ("does" if singular else "do")
            verb = self.verb.forms[0] if self.tense != "want" else f"want to {self.verb.forms[0]}"
        return join(helper, self.subject.en, self.often.en if self.often else "", verb, self._en_tail())

    # German

    def _de_verb(self) -> tuple[str, str]:
        """The finite verb and what closes the clause."""
        infinitive, _, participle = self.verb.de_forms
        person = self.subject.person
        full = self.verb.prefix + infinitive
        match self.tense:
            case "past" | "perfect":
                return auxiliary("haben", person), participle
            case "future":
                return auxiliary("werden", person), full
            case "can" | "must" | "should" | "want":
                return auxiliary(self.tense, person), full
        return de_finite(self.verb, person), self.verb.prefix

    def _de_middle(self, *, time: bool = True) -> str:
        """Between the verbs: time before a definite object, place after it, an indefinite object last."""
        adverb = {"progressive": "gerade", "perfect": "noch" if self.negated else "schon"}.get(self.tense, "")
        when = join(
            self.often.de if self.often else "",
            self.time.de if self.time and time else "",
            adverb,
        )
        where = self.place.de if self.place else ""
        no = "nicht" if self.negated else ""
        if self.object is None:
            return join(when, no, where)
        if self.verb.preposition:
            return join(when, no, where, f"{self.verb.preposition} {self.object.case(self.verb.case)}")
        if self.object.negated is not None:
            phrase = self.object.negated if self.negated and self.object.negated else self.object
            return join(when, where, phrase.case(self.verb.case))
        what = self.object.case(self.verb.case)
        return join(what, when, no, where) if self.negated or self.tense == "perfect" else join(when, what, where)

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

    def de_final(self) -> str:
        """Verb last: ``wir gestern den Bericht gelesen haben``."""
        finite, end = self._de_verb()
        verb = end + finite if end and end == self.verb.prefix else join(end, finite)
        return join(self.subject.case("nom"), self._de_middle(), verb)

    # Chinese

    def _zh_verb(self, *, aspect: bool = True) -> str:
        where = self.place.zh if self.place else ""
        particle = "了" if aspect and self.tense in ("past", "perfect") and not self.negated else ""
        phrase = self.object
        if phrase and self.negated and phrase.negated is not None:
            phrase = phrase.negated
        what = phrase.zh_as_object if phrase else ""
        template = self.verb.zh if "{}" in self.verb.zh else self.verb.zh + "~{}"
        said = template.replace("~", particle).format(what)
        match self.tense:
            case "progressive":
                helper = ("没有" if self.negated else "正") + ("" if where or self.negated else "在")
            case "perfect":
                helper = "还没有" if self.negated else "已经"
            case "past":
                helper = "没有" if self.negated else ""
            case "future":
                helper = "不会" if self.negated else "会"
            case "can" | "must" | "should" | "want":
                helper = _ZH_MODALS[self.tense][self.negated]
            case _:
                helper = "不" if self.negated else ""
        if not aspect and self.tense == "future" and not self.negated:
            helper = "要"
        return helper + where + said

    def zh(self, *, aspect: bool = True) -> str:
        """``aspect=False`` for a clause before 的, which goes without 了."""
        when = (self.time.zh if self.time else "") + (self.often.zh if self.often else "")
        return self.subject.zh + when + self._zh_verb(aspect=aspect)

    def zh_fronted(self) -> str:
        assert self.time is not None
        return self.time.zh + replace(self, time=None).zh()

    def zh_predicate(self) -> str:
        """Without the subject."""
        return self.zh()[len(self.subject.zh) :]


def sentence(text: str, end: str = ".") -> str:
    """Capitalise and close a sentence of English or German."""
    return text[0].upper() + text[1:] + end

"""Someone gives, shows or explains something to someone."""

from dataclasses import dataclass

from talks.clause import auxiliary, spoken
from talks.draw import Draw, Triple, pattern, same_thing
from talks.lexicon import Adverbial
from talks.phrases import OBJECTS, PRONOUNS, Phrase


@dataclass(frozen=True)
class Giving:
    """``en``: base and past; ``de``: infinitive and participle; ``zh`` with ``~`` where 了 stands."""

    en: str
    de: str
    zh: str
    takes: str
    to: bool = False  # English names the receiver last


_GIVINGS = (
    Giving("show showed", "zeigen gezeigt", "给{who}看~{what}", "text chart device film"),
    Giving("send sent", "schicken geschickt", "把{what}发给~{who}", "mail chart file"),
    Giving("give gave", "geben gegeben", "把{what}交给~{who}", "text device chart"),
    Giving("lend lent", "leihen geliehen", "把{what}借给~{who}", "loan book"),
    Giving("explain explained", "erklären erklärt", "给{who}讲解~{what}", "idea rule problem", to=True),
    Giving("recommend recommended", "empfehlen empfohlen", "给{who}推荐~{what}", "book film method", to=True),
    Giving("return returned", "zurückgeben zurückgegeben", "把{what}还给~{who}", "loan book", to=True),
)


@dataclass(frozen=True)
class _Given:
    giving: Giving
    who: Phrase
    what: Phrase
    time: Adverbial

    def en(self, past: bool = False) -> str:
        verb = self.giving.en.split()[past]
        end = f"{self.what.en} to {self.who.en}" if self.giving.to else f"{self.who.en} {self.what.en}"
        return f"{verb} {end} {self.time.en}"

    def de(self) -> str:
        return f"{self.who.case('dat')} {self.time.de} {self.what.case('acc')}"

    def zh(self, particle: str = "") -> str:
        return self.giving.zh.replace("~", particle).format(who=self.who.zh_as_object, what=self.what.zh_as_object)


def _given(draw: Draw, subject: Phrase, when: str, *, negated: bool = False) -> _Given:
    giving = draw.pick(_GIVINGS)
    who = draw.other(subject) if draw.chance(0.3) else draw.thing("person", plain=True)
    while same_thing(who, subject):
        who = draw.thing("person", plain=True)
    return _Given(giving, who, draw.thing(giving.takes, plain=True), draw.time(when, vague=not negated))


@pattern(weight=1.5)
def gave(draw: Draw) -> Triple:
    subject = draw.subject()
    given = _given(draw, subject, "past")
    return spoken(
        f"{subject.en} {given.en(past=True)}",
        f"{subject.case('nom')} {auxiliary('haben', subject.person)} {given.de()} {given.giving.de.split()[1]}",
        f"{subject.zh}{given.time.zh}{given.zh('了')}",
    )


@pattern(weight=1.5)
def will_give(draw: Draw) -> Triple:
    subject = draw.subject()
    given = _given(draw, subject, "future")
    return spoken(
        f"{subject.en} will {given.en()}",
        f"{subject.case('nom')} {auxiliary('future', subject.person)} {given.de()} {given.giving.de.split()[0]}",
        f"{subject.zh}{given.time.zh}会{given.zh()}",
    )


@pattern()
def did_not_give(draw: Draw) -> Triple:
    subject = draw.subject()
    given = _given(draw, subject, "past", negated=True)
    verb = given.giving.de.split()[1]
    what = f"{given.who.case('dat')} {given.what.case('acc')} {given.time.de} nicht {verb}"
    return spoken(
        f"{subject.en} did not {given.en()}",
        f"{subject.case('nom')} {auxiliary('haben', subject.person)} {what}",
        f"{subject.zh}{given.time.zh}没有{given.zh()}",
    )


@pattern(held_out=True)
def will_you_give(draw: Draw) -> Triple:
    subject = PRONOUNS["you"]
    given = _given(draw, subject, "future")
    return spoken(
        f"will you {given.en()}",
        f"werden Sie {given.de()} {given.giving.de.split()[0]}",
        f"您{given.time.zh}会{given.zh()}吗",
        "?",
    )


@pattern()
def please_give(draw: Draw) -> Triple:
    given = _given(draw, PRONOUNS["you"], "future")
    while given.giving.en == "return returned":  # "zurückgeben" parts in an imperative; "geben Sie … zurück"
        given = _given(draw, PRONOUNS["you"], "future")
    if draw.chance(0.5):
        given = _Given(given.giving, OBJECTS[draw.pick(("I", "we"))], given.what, given.time)
    zh = f"请{given.time.zh}{given.zh()}".replace("很快就", "尽快")
    return spoken(f"please {given.en()}", f"bitte {given.giving.de.split()[0]} Sie {given.de()}", zh)


@pattern()
def gave_asked(draw: Draw) -> Triple:
    subject = draw.pick((PRONOUNS["you"], PRONOUNS["you"], PRONOUNS["they"], draw.person()))
    given = _given(draw, subject, "past", negated=True)
    return spoken(
        f"did {subject.en} {given.en()}",
        f"{auxiliary('haben', subject.person)} {subject.case('nom')} {given.de()} {given.giving.de.split()[1]}",
        f"{subject.zh}{given.time.zh}{given.zh()}了吗",
        "?",
    )


@pattern()
def can_you_give(draw: Draw) -> Triple:
    subject = PRONOUNS["you"]
    given = _given(draw, subject, "future", negated=True)
    asked, fragt, zh = draw.pick(
        (("can you", "können Sie", "您{}可以"), ("could you please", "könnten Sie", "能请您{}"),
         ("do you have to", "müssen Sie", "您{}必须"))
    )  # fmt: skip
    to_whom = given.de()
    if fragt.startswith("könnten"):  # mir bitte, but bitte dem Direktor
        dative = given.who.case("dat")
        to_whom = to_whom.replace(dative, f"{dative} bitte" if given.who.pronoun else f"bitte {dative}", 1)
    return spoken(
        f"{asked} {given.en()}",
        f"{fragt} {to_whom} {given.giving.de.split()[0]}",
        f"{zh.format(given.time.zh)}{given.zh()}吗",
        "?",
    )


@pattern()
def will_someone_give(draw: Draw) -> Triple:
    subject = draw.pick((PRONOUNS["he"], PRONOUNS["she"], PRONOUNS["they"], draw.person(), draw.person()))
    given = _given(draw, subject, "future")
    return spoken(
        f"will {subject.en} {given.en()}",
        f"{auxiliary('future', subject.person)} {subject.case('nom')} {given.de()} {given.giving.de.split()[0]}",
        f"{subject.zh}{given.time.zh}会{given.zh()}吗",
        "?",
    )


@pattern()
def must_give(draw: Draw) -> Triple:
    subject = draw.subject()
    given = _given(draw, subject, "future", negated=True)
    tense, zh = draw.pick((("must", "必须"), ("should", "应该"), ("can", "可以")))
    return spoken(
        f"{subject.en} {tense} {given.en()}",
        f"{subject.case('nom')} {auxiliary(tense, subject.person)} {given.de()} {given.giving.de.split()[0]}",
        f"{subject.zh}{given.time.zh}{zh}{given.zh()}",
    )

"""Questions and requests."""

from stc.corpus import lexicon
from stc.corpus.clause import Clause, Tense, sentence
from stc.corpus.draw import Draw, Triple, pattern
from stc.corpus.phrases import PRONOUNS


def _asked(draw: Draw, tense: Tense, *, time: bool = False, subject: str = "") -> Clause:
    who = PRONOUNS[subject] if subject else draw.pick((PRONOUNS["you"], draw.person(), PRONOUNS["they"]))
    return draw.clause(tense, subject=who, time=time, plain=True)


@pattern(weight=1.5)
def did(draw: Draw) -> Triple:
    clause = _asked(draw, "past", time=True)
    return sentence(clause.en_question(), "?"), sentence(clause.de_inverted(), "?"), clause.zh() + "吗？"


@pattern()
def will(draw: Draw) -> Triple:
    clause = _asked(draw, "future", time=True)
    return sentence(clause.en_question(), "?"), sentence(clause.de_inverted(), "?"), clause.zh() + "吗？"


@pattern()
def can_you(draw: Draw) -> Triple:
    clause = _asked(draw, "can", time=draw.chance(0.6), subject="you")
    return sentence(clause.en_question(), "?"), sentence(clause.de_inverted(), "?"), clause.zh() + "吗？"


def _wh(draw: Draw, en: str, de: str, zh: str, tense: Tense, *, place: bool = False) -> Triple:
    clause = draw.clause(tense, place=place, plain=True)
    return (
        sentence(f"{en} {clause.en_question()}", "?"),
        sentence(f"{de} {clause.de_inverted()}", "?"),
        f"{clause.subject.zh}{zh}{clause.zh_predicate()}？",
    )


@pattern()
def when_will(draw: Draw) -> Triple:
    return _wh(draw, "when", "wann", "什么时候", "future")


@pattern()
def why(draw: Draw) -> Triple:
    clause = draw.clause("past", time=draw.chance(0.5), negated=draw.chance(0.5), plain=True)
    if clause.negated:
        en = f"why did {clause.subject.en} not {clause.en().split(' did not ', 1)[1]}"
    else:
        en = f"why {clause.en_question()}"
    return (
        sentence(en, "?"),
        sentence(f"warum {clause.de_inverted()}", "?"),
        f"{clause.subject.zh}为什么{clause.zh_predicate()}？",
    )


@pattern(held_out=True)
def why_should(draw: Draw) -> Triple:
    clause = draw.clause("should", time=draw.chance(0.5), plain=True)
    zh = f"为什么{clause.zh()}？"
    return sentence(f"why {clause.en_question()}", "?"), sentence(f"warum {clause.de_inverted()}", "?"), zh


@pattern()
def how_can(draw: Draw) -> Triple:
    verb = draw.verb("can", "method problem idea system")
    clause = Clause(draw.subject(), verb, draw.thing(verb.takes, plain=True), "can")
    what = clause.zh_predicate().removeprefix("可以")
    return (
        sentence(f"how {clause.en_question()}", "?"),
        sentence(f"wie {clause.de_inverted()}", "?"),
        f"{clause.subject.zh}怎样才能{what}？",
    )


@pattern()
def who(draw: Draw) -> Triple:
    clause = draw.clause("past", time=True, subject=draw.person(), plain=True)
    while clause.subject.person != "3s":
        clause = draw.clause("past", time=True, subject=draw.person(), plain=True)
    start = clause.subject
    return (
        sentence("who" + clause.en()[len(start.en) :], "?"),
        sentence("wer" + clause.de()[len(start.case("nom")) :], "?"),
        f"谁{clause.zh_predicate()}？",
    )


@pattern()
def please(draw: Draw) -> Triple:
    verb = draw.verb("future", "text idea system data plan")
    clause = Clause(PRONOUNS["you"], verb, draw.thing(verb.takes, plain=True), "present", time=draw.time("future"))
    return (
        sentence(f"please {clause.en().removeprefix('you ')}"),
        sentence(f"bitte {clause.de_inverted()}"),
        f"请{clause.zh_predicate()}。".replace("很快就", "尽快"),
    )


@pattern(weight=0.7)
def let_us(draw: Draw) -> Triple:
    verb = draw.verb("future", "text idea system data plan")
    clause = Clause(PRONOUNS["we"], verb, draw.thing(verb.takes, plain=True), "present", place=_maybe(draw))
    return (
        sentence(f"let us {clause.en().removeprefix('we ')}"),
        sentence(
            f"lassen Sie uns {clause.de_final().removeprefix('wir ').removesuffix(_verb(clause))}{_infinitive(clause)}"
        ),
        f"让我们{clause.zh_predicate()}吧。",
    )


def _maybe(draw: Draw) -> lexicon.Adverbial | None:
    return draw.place() if draw.chance(0.6) else None


def _infinitive(clause: Clause) -> str:
    return clause.verb.prefix + clause.verb.de_forms[0]


def _verb(clause: Clause) -> str:
    return clause.de_final().split()[-1]


@pattern(weight=0.5)
def will_be_in(draw: Draw) -> Triple:
    noun = draw.noun("event exam")
    name, de, zh = draw.pick(lexicon.CITIES)
    year = draw.number(2027, 2060)
    return (
        f"Will the {noun.en} in {year} be in {name}?",
        f"Wird {_the(noun)} im Jahr {year} in {de} stattfinden?",
        f"{year}年的{noun.zh}会在{zh}举行吗？",
    )


def _the(noun: lexicon.Noun) -> str:
    return {"m": "der", "f": "die", "n": "das"}[noun.gender] + " " + noun.de

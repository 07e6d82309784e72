"""Questions for yes and no, requests, and proposals."""

from talks import german, lexicon
from talks.clause import Clause, Tense, auxiliary, spoken
from talks.draw import Draw, Triple, pattern
from talks.phrases import PRONOUNS, counted


def _asked(draw: Draw, tense: Tense, *, time: bool = False, subject: str = "") -> Triple:
    who = PRONOUNS[subject] if subject else draw.pick((PRONOUNS["you"], draw.person(), PRONOUNS["they"]))
    clause = draw.clause(tense, subject=who, time=time, plain=True)
    return spoken(clause.en_question(), clause.de_inverted(), clause.zh() + "吗", "?")


@pattern(weight=1.5)
def did(draw: Draw) -> Triple:
    return _asked(draw, "past", time=True)


@pattern()
def will(draw: Draw) -> Triple:
    return _asked(draw, "future", time=True)


@pattern(weight=0.8)
def does(draw: Draw) -> Triple:
    return _asked(draw, "present")


@pattern(weight=0.8)
def must(draw: Draw) -> Triple:
    who = draw.pick((PRONOUNS["I"], PRONOUNS["we"], draw.person()))
    clause = draw.clause("must", subject=who, time=draw.chance(0.5), plain=True)
    helper = "does" if who.person == "3s" else "do"
    have = f"{helper} {who.en} have to {clause.en_infinitive()}"
    return spoken(have, clause.de_inverted(), clause.zh() + "吗", "?")


@pattern()
def can_you(draw: Draw) -> Triple:
    return _asked(draw, "can", time=draw.chance(0.6), subject="you")


@pattern()
def have_you_ever(draw: Draw) -> Triple:
    return _asked(draw, "ever")


@pattern(weight=0.8)
def would_you_like(draw: Draw) -> Triple:
    clause = draw.clause("would like", subject=PRONOUNS["you"], time=draw.chance(0.5), plain=True)
    return spoken(clause.en_question(), clause.de_inverted(), clause.zh() + "吗", "?")


@pattern(weight=0.8)
def is_doing(draw: Draw) -> Triple:
    return _asked(draw, "progressive")


_REQUESTED = "text idea system data plan question problem file"


def _requested(draw: Draw, subject: str, *, time: bool = False, place: bool = False, negated: bool = False) -> Clause:
    verb = draw.verb("want", _REQUESTED)
    when = draw.time("future") if time else None
    where = draw.place() if place else None
    who = PRONOUNS[subject]
    return Clause(who, verb, draw.thing(verb.takes, plain=True), "present", negated, when, where)


@pattern()
def please(draw: Draw) -> Triple:
    clause = _requested(draw, "you", time=True)
    return spoken(
        f"please {clause.en_predicate()}",
        f"bitte {clause.de_inverted()}",
        f"请{clause.zh_predicate()}".replace("很快就", "尽快"),
    )


@pattern(weight=0.8)
def please_do_not(draw: Draw) -> Triple:
    clause = _requested(draw, "you", negated=True)
    return spoken(
        f"please {clause.en_predicate()}",
        f"bitte {clause.de_inverted()}",
        f"请{clause.zh_predicate().replace('不', '不要', 1)}",
    )


@pattern()
def could_you_please(draw: Draw) -> Triple:
    clause = _requested(draw, "you")
    return spoken(
        f"could you please {clause.en_predicate()}",
        f"könnten Sie bitte {clause.de_infinitive(zu=False)}",
        f"能请您{clause.zh_bare()}吗",
        "?",
    )


@pattern(weight=0.8)
def let_us(draw: Draw) -> Triple:
    clause = _requested(draw, "we", place=draw.chance(0.5))
    return spoken(
        f"let us {clause.en_predicate()}",
        f"lassen Sie uns {clause.de_infinitive(zu=False)}",
        f"让我们{clause.zh_predicate()}吧",
    )


@pattern(weight=0.5)
def will_be_in(draw: Draw) -> Triple:
    noun = draw.noun("held")
    name, de, zh = draw.pick(lexicon.CITIES)
    year = draw.number(2027, 2060)
    return spoken(
        f"will the {noun.en} in {year} be in {name}",
        f"wird {german.determiner('der', noun.gender, 'nom')} {noun.de} im Jahr {year} in {de} stattfinden",
        f"{year}年的{noun.zh}会在{zh}举行吗",
        "?",
    )


@pattern(weight=0.7)
def do_we_have(draw: Draw) -> Triple:
    phrase = counted(draw.number(2, 20), draw.noun("device chart data"))
    who, haben = draw.pick(((PRONOUNS["we"], "haben"), (PRONOUNS["they"], "haben")))
    return spoken(
        f"do {who.en} have {phrase.en}",
        f"{auxiliary(haben, who.person)} {who.case('nom')} {phrase.case('acc')}",
        f"{who.zh}有{phrase.zh}吗",
        "?",
    )

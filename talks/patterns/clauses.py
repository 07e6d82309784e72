"""One clause: who does what, in every tense, affirmed and negated."""

from dataclasses import replace

from talks import german, lexicon
from talks.clause import Clause, Tense, spoken, stated
from talks.draw import Draw, Triple, pattern
from talks.lexicon import Adverbial
from talks.phrases import PRONOUNS, en_number, join, zh_count


@pattern(weight=2)
def past(draw: Draw) -> Triple:
    return stated(draw.clause("past", time=True, place=draw.chance(0.4)))


@pattern(weight=1.5)
def past_fronted(draw: Draw) -> Triple:
    clause = draw.clause("past", time=True, place=draw.chance(0.4))
    return spoken(clause.en_fronted(), clause.de_fronted(), clause.zh_fronted())


@pattern()
def past_negated(draw: Draw) -> Triple:
    return stated(draw.clause("past", time=True, negated=True))


@pattern(weight=1.5)
def progressive(draw: Draw) -> Triple:
    return stated(draw.clause("progressive", place=draw.chance(0.6)))


@pattern(weight=0.7)
def progressive_negated(draw: Draw) -> Triple:
    return stated(draw.clause("progressive", negated=True))


@pattern()
def still(draw: Draw) -> Triple:
    clause = draw.clause("progressive", plain=True, place=draw.chance(0.4))
    return stated(replace(clause, often=Adverbial("still", "immer noch", "还", "frequency")))


@pattern()
def perfect(draw: Draw) -> Triple:
    clause = draw.clause("perfect", plain=True)
    while clause.verb.forms[0] in ("look", "wait"):  # 已经 is for what has an end
        clause = draw.clause("perfect", plain=True)
    return stated(clause)


@pattern()
def perfect_negated(draw: Draw) -> Triple:
    return stated(draw.clause("perfect", negated=True))


@pattern()
def never(draw: Draw) -> Triple:
    return stated(draw.clause("never", plain=True))


@pattern()
def had_to(draw: Draw) -> Triple:
    return stated(draw.clause("had to", time=True, place=draw.chance(0.3)))


@pattern(weight=0.8)
def could_not(draw: Draw) -> Triple:
    return stated(draw.clause("could", time=draw.chance(0.7), negated=True))


@pattern(weight=1.5)
def future(draw: Draw) -> Triple:
    return stated(draw.clause("future", time=True, place=draw.chance(0.4)))


@pattern(held_out=True)
def future_fronted(draw: Draw) -> Triple:
    # 很快就 cannot stand before the subject
    clause = replace(draw.clause("future", plain=True), time=draw.time("future", vague=False))
    return spoken(clause.en_fronted(), clause.de_fronted(), clause.zh_fronted())


@pattern(weight=1.2)
def modal_fronted(draw: Draw) -> Triple:
    tense = draw.pick((draw.modal(), draw.modal(), "might"))
    clause = replace(draw.clause(tense, plain=True), time=draw.time("future", vague=False))
    return spoken(clause.en_fronted(), clause.de_fronted(), clause.zh_fronted())


@pattern()
def had_to_fronted(draw: Draw) -> Triple:
    """What had to be, could not be or was not done, after its time."""
    tense: Tense = draw.pick(("had to", "could", "past"))
    clause = draw.clause(tense, negated=tense != "had to", plain=True)
    clause = replace(clause, time=draw.time("past", vague=False))
    return spoken(clause.en_fronted(), clause.de_fronted(), clause.zh_fronted())


@pattern()
def future_negated(draw: Draw) -> Triple:
    return stated(draw.clause("future", negated=True))


@pattern(weight=2)
def modal(draw: Draw) -> Triple:
    return stated(draw.clause(draw.modal(), time=draw.chance(0.5), place=draw.chance(0.3)))


@pattern()
def modal_negated(draw: Draw) -> Triple:
    return stated(draw.clause(draw.modal(), negated=True))


@pattern(weight=0.8)
def might(draw: Draw) -> Triple:
    return stated(draw.clause("might", time=draw.chance(0.5), plain=True))


@pattern()
def would_like(draw: Draw) -> Triple:
    return stated(draw.clause("would like", subject=PRONOUNS[draw.pick(("I", "we"))], time=True, plain=True))


@pattern(weight=1.5)
def habit(draw: Draw) -> Triple:
    return stated(draw.habit())


@pattern()
def state(draw: Draw) -> Triple:
    return stated(draw.clause("present", negated=draw.chance(0.4)))


_LASTING = [verb for verb in lexicon.VERBS if verb.forms[0] in ("use", "work", "develop", "test", "analyze", "collect")]
_SPANS = (("years", "Jahren", "年"), ("months", "Monaten", "个月"), ("weeks", "Wochen", "周"))


@pattern(weight=0.8)
def lasting(draw: Draw) -> Triple:
    verb, number, (years, jahre, nian) = draw.pick(_LASTING), draw.number(2, 12), draw.pick(_SPANS)
    since = Adverbial(f"for {en_number(number)} {years}", f"seit {german.cardinal(number)} {jahre}", "")
    clause = Clause(draw.subject(), verb, draw.thing(verb.takes, plain=True), "present", time=since)
    has = "has" if clause.subject.person == "3s" else "have"
    done = clause.en_predicate().split(" ", 1)[1]
    return spoken(
        join(clause.subject.en, has, "been", verb.forms[4], done),
        clause.de(),
        f"{clause.zh()}已经{zh_count(number, nian)}了",
    )


_WITHOUT = (
    ("without your help", "ohne Ihre Hilfe", "没有您的帮助"),
    ("without this meeting", "ohne diese Besprechung", "没有这次会议"),
    ("without a good reason", "ohne einen guten Grund", "没有充分的理由"),
    ("without more money", "ohne mehr Geld", "没有更多的钱"),
    ("without a computer", "ohne einen Computer", "没有电脑"),
)


@pattern()
def without_it(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(_WITHOUT), draw.short("would", negated=True)
    return spoken(
        f"{en} {clause.en()}",
        f"{de} {clause.de_inverted()}",
        f"{zh}，{clause.subject.zh}就{clause.zh_predicate()}",
    )

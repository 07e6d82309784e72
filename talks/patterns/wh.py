"""Questions for who, what, which, when, where, why, how and how many."""

from dataclasses import replace

from talks import german, lexicon
from talks.clause import Clause, Tense, spoken
from talks.draw import LASTING_VERBS, Draw, Triple, pattern
from talks.lexicon import Adverbial, Noun, Verb
from talks.phrases import PRONOUNS, Phrase, fixed, singular


@pattern()
def when_will(draw: Draw) -> Triple:
    clause = draw.clause("future", plain=True)
    return spoken(
        f"when {clause.en_question()}",
        f"wann {clause.de_inverted()}",
        f"{clause.subject.zh}什么时候{clause.zh_predicate()}",
        "?",
    )


def _of_the_past(draw: Draw, en: str, de: str, zh: str) -> Triple:
    """When or where something known to have happened was done, which Chinese asks with 是…的."""
    who = draw.pick((PRONOUNS["you"], PRONOUNS["they"], draw.person()))
    clause = draw.clause("past", subject=who, plain=True)
    while clause.verb.forms[0] in LASTING_VERBS:
        clause = draw.clause("past", subject=who, plain=True)
    return spoken(
        f"{en} {clause.en_question()}", f"{de} {clause.de_inverted()}", f"{who.zh}是{zh}{clause.zh_bare()}的", "?"
    )


@pattern()
def when_did(draw: Draw) -> Triple:
    return _of_the_past(draw, "when", "wann", "什么时候")


@pattern()
def where_did(draw: Draw) -> Triple:
    return _of_the_past(draw, "where", "wo", "在哪里")


@pattern()
def why(draw: Draw) -> Triple:
    clause = draw.clause("past", time=draw.chance(0.5), negated=draw.chance(0.5), plain=True)
    return _why(clause)


def _why(clause: Clause) -> Triple:
    # before a time, why comes first: 为什么我明天应该, not 我为什么明天应该
    zh = f"为什么{clause.zh()}" if clause.time else f"{clause.subject.zh}为什么{clause.zh_predicate()}"
    return spoken(f"why {clause.en_question()}", f"warum {clause.de_inverted()}", zh, "?")


@pattern(held_out=True)
def why_should(draw: Draw) -> Triple:
    return _why(draw.clause("should", time=draw.chance(0.5), plain=True))


@pattern()
def how_can(draw: Draw) -> Triple:
    verb = draw.verb("can", "method problem idea system")
    clause = Clause(draw.subject(), verb, draw.thing(verb.takes, plain=True), "can")
    return spoken(
        f"how {clause.en_question()}",
        f"wie {clause.de_inverted()}",
        f"{clause.subject.zh}怎样才能{clause.zh_bare()}",
        "?",
    )


@pattern()
def who(draw: Draw) -> Triple:
    clause = draw.clause("past", time=True, subject=fixed("who", "wer", "谁"), plain=True)
    return spoken(clause.en(), clause.de(), clause.zh(), "?")


@pattern()
def who_will(draw: Draw) -> Triple:
    clause = draw.clause("future", subject=fixed("who", "wer", "谁"), plain=True)
    clause = replace(clause, time=draw.time("future", vague=False))
    return spoken(clause.en(), clause.de(), clause.zh(), "?")


def _asking_for(draw: Draw, verb: Verb, zh: str, tense: Tense, time: Adverbial | None) -> Clause:
    """A clause whose object is what is asked for: it stands at the front, but not in Chinese."""
    subject = draw.pick((PRONOUNS["you"], PRONOUNS["we"], PRONOUNS["they"], draw.person()))
    return Clause(subject, verb, Phrase("", ("", "", "", ""), zh), tense, time=time)


@pattern()
def what(draw: Draw) -> Triple:
    verb, _ = draw.transitive()
    clause = _asking_for(draw, verb, "什么", "past", draw.time("past"))
    return spoken(f"what {clause.en_question()}", f"was {clause.de_inverted()}", clause.zh(), "?")


def _which(draw: Draw, tense: Tense, time: Adverbial | None) -> Triple:
    verb, tags = draw.transitive()
    while tense != "past" and not verb.willed:
        verb, tags = draw.transitive()
    phrase = singular("which", draw.noun(tags))
    clause = _asking_for(draw, verb, phrase.zh, tense, time)
    return spoken(
        f"{phrase.en} {clause.en_question()}", f"{phrase.case('acc')} {clause.de_inverted()}", clause.zh(), "?"
    )


@pattern()
def which(draw: Draw) -> Triple:
    return _which(draw, "past", draw.time("past"))


@pattern(weight=0.8)
def which_should(draw: Draw) -> Triple:
    return _which(draw, draw.pick(("should", "must")), None)


def _how_many(draw: Draw, tense: Tense, time: Adverbial | None) -> Triple:
    verb, tags = draw.transitive()
    while verb.forms[0] in LASTING_VERBS or (tense in ("should", "can", "must") and not verb.willed):
        verb, tags = draw.transitive()
    noun: Noun = draw.noun(tags)
    clause = _asking_for(draw, verb, f"多少{noun.classifier}{noun.zh}", tense, time)
    return spoken(
        f"how many {noun.plural} {clause.en_question()}",
        f"wie viele {german.noun(noun.de, noun.de_plural, noun.gender, 'acc', weak=noun.weak, many=True)} "
        f"{clause.de_inverted()}",
        clause.zh(),
        "?",
    )


@pattern()
def how_many(draw: Draw) -> Triple:
    return _how_many(draw, "past", draw.time("past"))


@pattern(held_out=True)
def how_many_will(draw: Draw) -> Triple:
    return _how_many(draw, "future", draw.time("future", vague=False))


@pattern(weight=0.6)
def how_long(draw: Draw) -> Triple:
    phrase, (city, stadt, shi) = (
        singular(draw.pick(("the", "this")), draw.noun("event exam")),
        draw.pick(lexicon.CITIES),
    )
    return spoken(
        f"how long will {phrase.en} in {city} last",
        f"wie lange wird {phrase.case('nom')} in {stadt} dauern",
        f"{shi}的{phrase.zh}会持续多久",
        "?",
    )


@pattern(weight=0.7)
def what_time(draw: Draw) -> Triple:
    phrase = singular(draw.pick(("the", "our", "this")), draw.noun("event exam"))
    verb, wort, dong = draw.pick((("begin", "beginnt", "开始"), ("end", "endet", "结束")))
    day, tag, zh_day = draw.pick(
        (("today", "heute", "今天"), ("tomorrow", "morgen", "明天"), ("on Friday", "am Freitag", "星期五"),
         ("on Monday", "am Montag", "星期一"), ("on Sunday", "am Sonntag", "星期天"))
    )  # fmt: skip
    return spoken(
        f"at what time does {phrase.en} {verb} {day}",
        f"um wie viel Uhr {wort} {phrase.case('nom')} {tag}",
        f"{phrase.zh}{zh_day}几点{dong}",
        "?",
    )


def _asking(draw: Draw, tense: Tense, tags: str = "") -> Clause:
    """What someone may be asked how, when or where to do."""
    who = draw.pick((PRONOUNS["you"], PRONOUNS["we"], PRONOUNS["they"], draw.subject()))
    while True:
        verb = draw.verb(tense, tags)
        if verb.durative and verb.willed and verb.takes != "place" and verb.forms[0] not in LASTING_VERBS:
            return Clause(who, verb, draw.object(verb, who, plain=True), tense)


_WHEN_WHERE = (("when", "wann", "什么时候{}"), ("where", "wo", "{}在哪里"))
_ZH_MODALS = {"can": "可以", "must": "必须", "should": "应该", "future": "会"}


@pattern(weight=1.2)
def when_should(draw: Draw) -> Triple:
    """When or where something should, can or must be done, or where it will be."""
    when, wann, zh = draw.pick(_WHEN_WHERE)
    clause = _asking(draw, draw.pick(("should", "can", "must") if when == "when" else ("should", "can", "future")))
    return spoken(
        f"{when} {clause.en_question()}",
        f"{wann} {clause.de_inverted()}",
        f"{clause.subject.zh}{zh.format(_ZH_MODALS[clause.tense])}{clause.zh_bare()}",
        "?",
    )


@pattern(weight=0.8)
def when_will_you(draw: Draw) -> Triple:
    clause = draw.clause("future", subject=PRONOUNS["you"], plain=True)
    return spoken(
        f"when {clause.en_question()}", f"wann {clause.de_inverted()}", f"您什么时候{clause.zh_predicate()}", "?"
    )


@pattern()
def how_should(draw: Draw) -> Triple:
    clause = _asking(draw, draw.pick(("should", "future", "past")), "method problem idea system data")
    zh = {"should": "应该怎样{}", "future": "会怎样{}", "past": "是怎样{}的"}[clause.tense]
    return spoken(
        f"how {clause.en_question()}",
        f"wie {clause.de_inverted()}",
        f"{clause.subject.zh}{zh.format(clause.zh_bare())}",
        "?",
    )


@pattern(weight=1.2)
def why_must(draw: Draw) -> Triple:
    """Why something has to, can, will or will not be done."""
    tense: Tense = draw.pick(("must", "can", "future", "want"))
    negated = tense in ("future", "want") and draw.chance(0.5)
    subject = draw.pick((PRONOUNS["you"], PRONOUNS["we"], draw.subject()))
    return _why(draw.clause(tense, subject=subject, time=draw.chance(0.4), negated=negated, plain=True))


@pattern()
def what_should(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("should", "must", "can", "future"))
    verb, _ = draw.transitive()
    while not verb.willed or verb.forms[0] in LASTING_VERBS:
        verb, _ = draw.transitive()
    clause = _asking_for(draw, verb, "什么", tense, draw.time("future", vague=False))
    return spoken(f"what {clause.en_question()}", f"was {clause.de_inverted()}", clause.zh(), "?")


@pattern()
def which_will(draw: Draw) -> Triple:
    return _which(draw, draw.pick(("future", "can")), draw.time("future", vague=False))


@pattern(weight=1.2)
def how_many_should(draw: Draw) -> Triple:
    return _how_many(draw, draw.pick(("should", "can", "must")), draw.time("future", vague=False))


@pattern()
def how_many_already(draw: Draw) -> Triple:
    return _how_many(draw, "perfect", None)


@pattern(weight=0.7)
def how_much_time(draw: Draw) -> Triple:
    much, wie, zh = draw.pick((("time", "Zeit", "时间"), ("money", "Geld", "钱")))
    phrase, will = singular(draw.pick(("the", "this")), draw.noun("work event study")), draw.chance(0.5)
    who = PRONOUNS[draw.pick(("we", "they", "you"))]
    for_thing = f"für {phrase.case('acc')}"
    return spoken(
        f"how much {much} {'will' if will else 'do'} {who.en} need for {phrase.en}",
        f"wie viel {wie} werden {who.case('nom')} {for_thing} brauchen"
        if will
        else f"wie viel {wie} brauchen {who.case('nom')} {for_thing}",
        f"{phrase.zh}{who.zh}{'将' if will else ''}需要多少{zh}",
        "?",
    )

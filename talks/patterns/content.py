"""Clauses that say what is known, thought, asked or decided."""

from talks import lexicon
from talks.clause import auxiliary, spoken
from talks.draw import Draw, Triple, pattern
from talks.phrases import singular

OPINIONS = (
    ("I think", "ich denke", "我认为"),
    ("I hope", "ich hoffe", "我希望"),
    ("we believe", "wir glauben", "我们相信"),
    ("everyone knows", "alle wissen", "大家都知道"),
    ("it is clear", "es ist klar", "很明显"),
    ("she said yesterday", "sie hat gestern gesagt", "她昨天说"),
    ("the director expects", "der Direktor erwartet", "主任预计"),
)
UNKNOWN = (
    ("I do not know", "ich weiß nicht", "我不知道"),
    ("nobody knows", "niemand weiß", "没有人知道"),
    ("we want to know", "wir wollen wissen", "我们想知道"),
    ("she is asking", "sie fragt", "她在问，"),
)


@pattern(weight=1.5)
def that(draw: Draw) -> Triple:
    en, de, zh = draw.pick(OPINIONS)
    clause = draw.short(draw.pick(("future", "can") if en == "I hope" else ("future", "must", "can")))
    while en == "we believe" and clause.subject.en == "I":
        clause = draw.short(clause.tense)
    return spoken(
        f"{en} that {clause.en()}",
        f"{de}, dass {clause.de_final()}",
        f"{zh}{'' if en == 'I hope' else '，'}{clause.zh()}",
    )


@pattern()
def that_past(draw: Draw) -> Triple:
    en, de, zh = draw.pick(OPINIONS[2:6])
    clause = draw.short(negated=draw.chance(0.4))
    while en == "we believe" and clause.subject.en == "I":
        clause = draw.short(negated=clause.negated)
    return spoken(f"{en} that {clause.en()}", f"{de}, dass {clause.de_final()}", f"{zh}，{clause.zh()}")


@pattern(weight=0.8)
def that_would_not(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(OPINIONS[:1] + OPINIONS[4:6]), draw.short("would", negated=draw.chance(0.7))
    return spoken(f"{en} that {clause.en()}", f"{de}, dass {clause.de_final()}", f"{zh}，{clause.zh()}")


@pattern()
def whether(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(UNKNOWN), draw.short("future")
    choice = clause.subject.zh + "会不会" + clause.zh_predicate().removeprefix("会")
    return spoken(f"{en} whether {clause.en()}", f"{de}, ob {clause.de_final()}", f"{zh}{choice}")


@pattern(held_out=True)
def why_known(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(UNKNOWN), draw.short()
    return spoken(
        f"{en} why {clause.en()}",
        f"{de}, warum {clause.de_final()}",
        f"{zh}{clause.subject.zh}为什么{clause.zh_predicate()}",
    )


@pattern()
def when_known(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(UNKNOWN), draw.short("future")
    return spoken(
        f"{en} when {clause.en()}",
        f"{de}, wann {clause.de_final()}",
        f"{zh}{clause.subject.zh}什么时候{clause.zh_predicate()}",
    )


@pattern(weight=0.8)
def do_you_know_when(draw: Draw) -> Triple:
    thing, (verb, wort, dong) = singular(draw.pick(("the", "this", "our")), draw.noun("event exam")), draw.pick(
        (("begins", "beginnt", "开始"), ("ends", "endet", "结束"))
    )  # fmt: skip
    return spoken(
        f"do you know when {thing.en} {verb}",
        f"wissen Sie, wann {thing.case('nom')} {wort}",
        f"您知道{thing.zh}什么时候{dong}吗",
        "?",
    )


_INTENTIONS = (
    ("decided", "beschlossen", "决定"),
    ("tried", "versucht", "试图"),
    ("forgot", "vergessen", "忘了"),
    ("promised", "versprochen", "答应"),
)


@pattern(weight=1.5)
def decided_to(draw: Draw) -> Triple:
    (en, de, zh), subject = draw.pick(_INTENTIONS), draw.subject()
    deed, time = draw.short("want", subject=subject), draw.time("past")
    finite = auxiliary("haben", subject.person)
    return spoken(
        f"{time.en} {subject.en} {en} to {deed.en_infinitive()}",
        f"{time.de} {finite} {subject.case('nom')} {de}, {deed.de_infinitive()}",
        f"{time.zh}{subject.zh}{zh}{deed.zh_bare()}",
    )


@pattern()
def hope_to(draw: Draw) -> Triple:
    (en, ich, wo), hoffe = draw.pick(((("I", "ich", "我"), "hoffe"), (("we", "wir", "我们"), "hoffen")))
    clause = draw.clause("future", time=True, plain=True)
    assert clause.time is not None
    return spoken(
        f"{en} hope to {clause.en_infinitive()}",
        f"{ich} {hoffe}, {clause.de_infinitive()}",
        f"{wo}希望{clause.time.zh}能{clause.zh_bare()}",
    )


@pattern(weight=1.2)
def asked_to(draw: Draw) -> Triple:
    subject = draw.person()
    who = draw.other(subject) if draw.chance(0.5) else draw.thing("person", plain=True)
    deed = draw.short("want", words=8, subject=who)
    return spoken(
        f"{subject.en} asked {who.en} to {deed.en_infinitive()}",
        f"{subject.case('nom')} {auxiliary('haben', subject.person)} {who.case('acc')} gebeten, {deed.de_infinitive()}",
        f"{subject.zh}请{who.zh_as_object}{deed.zh_bare()}",
    )


_JUDGEMENTS = (
    ("important", "wichtig", "很重要"),
    ("necessary", "notwendig", "很有必要"),
    ("difficult", "schwierig", "很难"),
    ("easy", "leicht", "很容易"),
)


@pattern()
def it_is_to(draw: Draw) -> Triple:
    (en, de, zh), verb_tags = draw.pick(_JUDGEMENTS), draw.transitive()
    verb, tags = verb_tags
    thing, no = draw.thing(tags, plain=True), draw.chance(0.3)
    if no:
        zh = {"很重要": "不重要", "很有必要": "没有必要", "很难": "不难", "很容易": "不容易"}[zh]
    said = f"{zh}{verb.zh}{thing.zh_as_object}" if zh == "没有必要" else f"{verb.zh}{thing.zh_as_object}{zh}"
    return spoken(
        f"it is {'not ' if no else ''}{en} to {verb.forms[0]} {thing.en}",
        f"es ist {'nicht ' if no else ''}{de}, {thing.case('acc')} {verb.zu_infinitive}",
        said,
    )


@pattern(weight=0.7)
def told_me(draw: Draw) -> Triple:
    """Two names, one of whom is from somewhere."""
    first, second, (city, stadt, shi) = draw.name(), draw.name(), draw.pick(lexicon.CITIES)
    while second == first:
        second = draw.name()
    return spoken(
        f"{first.en} told me that {second.en} comes from {city}",
        f"{first.en} hat mir gesagt, dass {second.en} aus {stadt} kommt",
        f"{first.zh}告诉我，{second.zh}来自{shi}",
    )

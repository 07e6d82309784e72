"""What is said in talks and meetings about the talk or meeting itself."""

from stc.corpus import german, lexicon
from stc.corpus.clause import auxiliary, sentence
from stc.corpus.draw import Draw, Triple, pattern
from stc.corpus.phrases import counted, en_number, join, singular, zh_number


@pattern()
def today_about(draw: Draw) -> Triple:
    thing = draw.thing("idea method system problem", plain=True)
    en, de, zh = draw.pick(
        (("today I will talk about", "heute spreche ich über", "今天我要谈谈"),
         ("my talk today is about", "in meinem Vortrag geht es heute um", "我今天的演讲是关于"),
         ("the next chapter is about", "im nächsten Kapitel geht es um", "下一章讲的是"),
         ("let me begin with", "ich beginne mit", "我先来讲"))
    )  # fmt: skip
    case = thing.case("dat" if en.endswith("with") else "acc")
    end = "的" if zh.endswith("关于") else ""
    return sentence(f"{en} {thing.en}"), sentence(f"{de} {case}"), f"{zh}{thing.zh_as_object}{end}。"


@pattern()
def on_slide(draw: Draw) -> Triple:
    thing, number = draw.thing("idea data chart system"), draw.number(2, 40)
    return (
        sentence(f"on page {en_number(number)} you can see {thing.en}"),
        sentence(f"auf Seite {german.cardinal(number)} sehen Sie {thing.case('acc')}"),
        f"在第{zh_number(number)}页，您可以看到{thing.zh_as_object}。",
    )


@pattern()
def thanks_for(draw: Draw) -> Triple:
    noun = draw.noun("event text find idea plan")
    adjective = draw.adjective(noun) if draw.chance(0.6) and noun.en not in ("mistake", "answer", "solution") else None
    thing, (day, tag, ri) = singular("your", noun, adjective), draw.pick(lexicon.WEEKDAYS)
    return (
        sentence(f"thank you very much for {thing.en} on {day}"),
        sentence(f"vielen Dank für {thing.case('acc')} am {tag}"),
        f"非常感谢您{ri}那{noun.classifier}{adjective.zh if adjective else ''}{noun.zh}。",
    )


@pattern()
def according_to(draw: Draw) -> Triple:
    noun, many = draw.noun("text chart"), draw.noun("person device text")
    source, things = singular(draw.pick(("the", "this", "our")), noun), counted(draw.number(2, 99), many)
    return (
        sentence(f"according to {source.en}, we need {things.en}"),
        sentence(f"laut {source.case('dat')} brauchen wir {things.case('acc')}"),
        f"根据{source.zh}，我们需要{things.zh}。",
    )


@pattern(held_out=True)
def would_like(draw: Draw) -> Triple:
    verb = draw.verb("want")
    thing = draw.thing(verb.takes, plain=True)
    target = f"{verb.preposition} {thing.case(verb.case)}" if verb.preposition else thing.case(verb.case)
    template = verb.zh if "{}" in verb.zh else verb.zh + "{}"
    time = draw.time("future")
    return (
        sentence(join("I would like to", verb.forms[0], verb.en_preposition, thing.en, time.en)),
        sentence(f"ich möchte {time.de} {target} {verb.prefix}{verb.de_forms[0]}"),
        f"我{time.zh}想{template.replace('~', '').format(thing.zh_as_object)}。".replace("很快就想", "想尽快"),
    )


@pattern()
def with_person(draw: Draw) -> Triple:
    who, place, time = draw.thing("person", plain=True), draw.place(), draw.time("past")
    subject = draw.subject()
    has = auxiliary("haben", subject.person)
    return (
        sentence(f"{subject.en} talked to {who.en} {place.en} {time.en}"),
        sentence(f"{subject.case('nom')} {has} {time.de} {place.de} mit {who.case('dat')} gesprochen"),
        f"{subject.zh}{time.zh}{place.zh}和{who.zh_as_object}谈过话。",
    )

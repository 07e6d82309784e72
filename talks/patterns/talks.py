"""What is said in talks and meetings about the talk or meeting itself."""

from talks import german, lexicon
from talks.clause import auxiliary, spoken
from talks.draw import Draw, Triple, pattern
from talks.phrases import PRONOUNS, counted, en_number, singular, zh_number


@pattern()
def today_about(draw: Draw) -> Triple:
    thing = draw.thing("idea method system problem point", plain=True)
    en, de, zh, case = draw.pick(
        (("today I will talk about {}", "heute werde ich über {} sprechen", "今天我要谈谈{}", 1),
         ("my talk today is about {}", "in meinem Vortrag geht es heute um {}", "我今天的演讲是关于{}的", 1),
         ("let me begin with {}", "lassen Sie mich mit {} beginnen", "我先来讲{}", 2),
         ("now we come to {}", "jetzt kommen wir {}", "现在我们来看{}", 2))
    )  # fmt: skip
    what = thing.de[case]
    if zh.startswith("现在"):
        what = german.prepositional("zu", what)
    return spoken(en.format(thing.en), de.format(what), zh.format(thing.zh_as_object))


_SLIDES = (
    ("on the next slide", "auf der nächsten Folie", "在下一张幻灯片上"),
    ("on this slide", "auf dieser Folie", "在这张幻灯片上"),
    ("in the next section", "im nächsten Abschnitt", "在下一节"),
)


@pattern(weight=1.2)
def on_slide(draw: Draw) -> Triple:
    thing, number = draw.thing("idea data chart system"), draw.number(2, 40)
    en, de, zh = draw.pick(
        (
            *_SLIDES,
            (f"on page {en_number(number)}", f"auf Seite {german.cardinal(number)}", f"在第{zh_number(number)}页"),
        )
    )
    return spoken(
        f"{en} you can see {thing.en}", f"{de} sehen Sie {thing.case('acc')}", f"{zh}，您可以看到{thing.zh_as_object}"
    )


_TALKS = (
    ("in this talk", "in diesem Vortrag", "在这场演讲中"),
    ("in this chapter", "in diesem Kapitel", "在这一章中"),
    ("in the next section", "im nächsten Abschnitt", "在下一节"),
    ("at the end", "am Ende", "最后"),
)


@pattern(weight=1.5)
def show_how(draw: Draw) -> Triple:
    (where, wo, nali), subject = draw.pick(_TALKS), PRONOUNS[draw.pick(("we", "they"))]
    clause = draw.short("can", subject=subject)
    while not clause.verb.plain_object or clause.verb.takes == "person":
        clause = draw.short("can", subject=subject)
    return spoken(
        f"{where} I want to show how {clause.en()}",
        f"{wo} will ich zeigen, wie {clause.de_final()}",
        f"{nali}，我想说明{subject.zh}怎样才能{clause.zh_bare()}",
    )


@pattern()
def show_that(draw: Draw) -> Triple:
    noun, adjective_noun = draw.noun("chart text data"), draw.noun("system method device plan")
    source, adjective = singular(draw.pick(("this", "our", "the")), noun), draw.adjective(adjective_noun)
    thing = singular(draw.pick(("the", "this", "our")), adjective_noun)
    return spoken(
        f"{source.en} shows that {thing.en} is {adjective.en}",
        f"{source.case('nom')} zeigt, dass {thing.case('nom')} {adjective.de} ist",
        f"{source.zh}表明，{thing.zh}很{adjective.zh_predicate}",
    )


@pattern()
def thanks_for(draw: Draw) -> Triple:
    noun = draw.noun("event text find idea plan question")
    while noun.has("error") or noun.has("point"):
        noun = draw.noun("event text find idea plan question")
    day, tag, ri = draw.pick(lexicon.WEEKDAYS)
    if draw.chance(0.5):
        adjective = draw.adjective(noun) if draw.chance(0.6) and not noun.has("find") else None
        thing = singular("your", noun, adjective)
        zh = f"感谢您这{noun.classifier}{adjective.zh}{noun.zh}" if adjective else f"感谢{thing.zh}"
        return spoken(f"thank you for {thing.en}", f"vielen Dank für {thing.case('acc')}", zh)
    noun = draw.noun("event mail question")  # what a day can bring
    thing = singular("your", noun)
    return spoken(
        f"thank you very much for {thing.en} on {day}",
        f"vielen herzlichen Dank für {thing.case('acc')} am {tag}",
        f"非常感谢您{ri}的{noun.zh}",
    )


@pattern()
def according_to(draw: Draw) -> Triple:
    noun, many = draw.noun("text chart"), draw.noun("person device text")
    source, things = singular(draw.pick(("the", "this", "our")), noun), counted(draw.number(2, 99), many)
    return spoken(
        f"according to {source.en}, we need {things.en}",
        f"laut {source.case('dat')} brauchen wir {things.case('acc')}",
        f"根据{source.zh}，我们需要{things.zh}",
    )


@pattern()
def with_person(draw: Draw) -> Triple:
    who, place, time = draw.thing("person", plain=True), draw.place(), draw.time("past")
    subject = draw.subject()
    has = auxiliary("haben", subject.person)
    return spoken(
        f"{subject.en} talked to {who.en} {place.en} {time.en}",
        f"{subject.case('nom')} {has} {time.de} {place.de} mit {who.case('dat')} gesprochen",
        f"{subject.zh}{time.zh}{place.zh}和{who.zh_as_object}谈过话",
    )


@pattern(weight=0.8)
def questions_about(draw: Draw) -> Triple:
    thing = draw.thing("idea text plan system point", plain=True)
    if draw.chance(0.5):
        return spoken(
            f"does anyone have questions about {thing.en}",
            f"hat jemand Fragen {german.prepositional('zu', thing.case('dat'))}",
            f"关于{thing.zh_as_object}，大家有问题吗",
            "?",
        )
    return spoken(
        f"if you have questions about {thing.en}, please ask me",
        f"wenn Sie Fragen {german.prepositional('zu', thing.case('dat'))} haben, fragen Sie mich bitte",
        f"如果您对{thing.zh_as_object}有疑问，请问我",
    )


@pattern(weight=0.8)
def welcome_to(draw: Draw) -> Triple:
    noun, (city, stadt, shi) = draw.noun("event"), draw.pick(lexicon.CITIES)
    phrase = singular("our", noun)
    return spoken(
        f"welcome to {phrase.en} in {city}",
        f"willkommen zu {phrase.case('dat')} in {stadt}",
        f"欢迎参加我们在{shi}的{noun.zh}",
    )


@pattern(weight=0.8)
def next_speaker(draw: Draw) -> Triple:
    surname, (city, stadt, shi) = draw.pick(lexicon.SURNAMES), draw.pick(lexicon.CITIES)
    speaker, redner, zh = draw.pick(
        (("speaker", "Redner", "演讲者"), ("guest", "Gast", "嘉宾"), ("expert", "Experte", "专家"))
    )  # fmt: skip
    name = f"Professor {surname.en}" if draw.chance(0.7) else f"Doctor {surname.en}"
    title = "教授" if name.startswith("P") else "博士"
    return spoken(
        f"our next {speaker} is {name} from {city}",
        f"unser nächster {redner} ist {name.replace('Doctor', 'Doktor')} aus {stadt}",
        f"我们的下一位{zh}是来自{shi}的{surname.zh}{title}",
    )


@pattern()
def for_example(draw: Draw) -> Triple:
    clause = draw.short("can", subject=PRONOUNS[draw.pick(("we", "they"))])
    return spoken(f"for example, {clause.en()}", f"zum Beispiel {clause.de_inverted()}", f"例如，{clause.zh()}")


@pattern(weight=0.8)
def as_i_said(draw: Draw) -> Triple:
    time, clause = draw.time("past"), draw.short(draw.pick(("must", "should", "future")), subject=PRONOUNS["we"])
    return spoken(
        f"as I said {time.en}, {clause.en()}",
        f"wie ich {time.de} gesagt habe, {clause.de_inverted()}",
        f"正如我{time.zh}所说，{clause.zh()}",
    )


@pattern(weight=0.8)
def after_the_break(draw: Draw) -> Triple:
    en, de, zh = draw.pick(
        (("after the break", "nach der Pause", "休息之后"), ("before lunch", "vor dem Mittagessen", "午饭前"),
         ("in the second part", "im zweiten Teil", "在第二部分"), ("during the break", "während der Pause", "休息期间"))
    )  # fmt: skip
    clause = draw.short("future", subject=PRONOUNS["we"])
    return spoken(f"{en} {clause.en()}", f"{de} {clause.de_inverted()}", f"{zh}，{clause.zh()}")


@pattern(weight=0.7)
def take_a_break(draw: Draw) -> Triple:
    number, noun = draw.number(2, 60), draw.noun("event")
    return spoken(
        f"after the {noun.en} we will take a break of {en_number(number)} minutes",
        f"nach {german.determiner('der', noun.gender, 'dat')} {noun.de} "
        f"machen wir {german.cardinal(number)} Minuten Pause",
        f"{noun.zh}结束后，我们休息{'两' if number == 2 else zh_number(number)}分钟",
    )

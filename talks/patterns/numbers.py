"""How many, how much, when exactly: numbers, percentages, dates, clock times, prices."""

from talks import german, lexicon
from talks.clause import spoken
from talks.draw import Draw, Triple, pattern
from talks.phrases import counted, en_number, singular, zh_count, zh_number


@pattern()
def there_are(draw: Draw) -> Triple:
    phrase, place = counted(draw.number(2, 99), draw.noun("text device person chart problem find")), draw.place()
    return spoken(
        f"there are {phrase.en} {place.en}",
        f"{place.de} gibt es {phrase.case('acc')}",
        f"{place.zh.removeprefix('在')}有{phrase.zh}",
    )


_QUANTITIES = (
    ("the error rate", "die Fehlerrate", "错误率", ("提高", "降低")),
    ("the price", "der Preis", "价格", ("上涨", "下降")),
    ("the number of students", "die Zahl der Studenten", "学生人数", ("增加", "减少")),
    ("the unemployment rate", "die Arbeitslosenquote", "失业率", ("上升", "下降")),
    ("the income", "das Einkommen", "收入", ("增加", "减少")),
    ("the temperature", "die Temperatur", "温度", ("上升", "下降")),
    ("the speed", "die Geschwindigkeit", "速度", ("提高", "降低")),
)
_CHANGES = (("increased", "increase", "gestiegen", "steigen"), ("decreased", "decrease", "gesunken", "sinken"))
_PERIODS = [time for time in lexicon.TIMES if time.en in ("last week", "last month", "last year", "last summer")]
_TO_COME = [time for time in lexicon.TIMES if time.en in ("next week", "next month", "next year", "next summer")]


@pattern(weight=1.2)
def percent(draw: Draw) -> Triple:
    en, de, zh, changes = draw.pick(_QUANTITIES)
    down, number, time = draw.number(0, 1), draw.number(2, 99), draw.pick(_PERIODS)
    verb, _, wort, _ = _CHANGES[down]
    return spoken(
        f"{en} {verb} by {en_number(number)} percent {time.en}",
        f"{de} ist {time.de} um {german.cardinal(number)} Prozent {wort}",
        f"{time.zh}{zh}{changes[down]}了百分之{zh_number(number)}",
    )


@pattern(weight=0.8)
def percent_to_come(draw: Draw) -> Triple:
    en, de, zh, changes = draw.pick(_QUANTITIES)
    down, number, time = draw.number(0, 1), draw.number(2, 99), draw.pick(_TO_COME)
    _, verb, _, wort = _CHANGES[down]
    return spoken(
        f"{en} will {verb} by {en_number(number)} percent {time.en}",
        f"{de} wird {time.de} um {german.cardinal(number)} Prozent {wort}",
        f"{time.zh}{zh}会{changes[down]}百分之{zh_number(number)}",
    )


@pattern(held_out=True)
def percent_asked(draw: Draw) -> Triple:
    en, de, zh, changes = draw.pick(_QUANTITIES)
    down, number, time = draw.number(0, 1), draw.number(2, 99), draw.pick(_PERIODS)
    _, verb, wort, _ = _CHANGES[down]
    return spoken(
        f"did {en} {verb} by {en_number(number)} percent {time.en}",
        f"ist {de} {time.de} um {german.cardinal(number)} Prozent {wort}",
        f"{time.zh}{zh}{changes[down]}了百分之{zh_number(number)}吗",
        "?",
    )


@pattern(weight=0.8)
def percent_to_come_asked(draw: Draw) -> Triple:
    en, de, zh, changes = draw.pick(_QUANTITIES)
    down, number, time = draw.number(0, 1), draw.number(2, 99), draw.pick(_TO_COME)
    _, verb, _, wort = _CHANGES[down]
    return spoken(
        f"will {en} {verb} by {en_number(number)} percent {time.en}",
        f"wird {de} {time.de} um {german.cardinal(number)} Prozent {wort}",
        f"{time.zh}{zh}会{changes[down]}百分之{zh_number(number)}吗",
        "?",
    )


@pattern(weight=0.8)
def by_how_many_percent(draw: Draw) -> Triple:
    en, de, zh, changes = draw.pick(_QUANTITIES)
    down, past = draw.number(0, 1), draw.chance(0.6)
    time = draw.pick(_PERIODS if past else _TO_COME)
    _, verb, gone, going = _CHANGES[down]
    return spoken(
        f"by how many percent {'did' if past else 'will'} {en} {verb} {time.en}",
        f"um wie viel Prozent {'ist' if past else 'wird'} {de} {time.de} {gone if past else going}",
        f"{time.zh}{zh}{changes[down]}了百分之多少" if past else f"{time.zh}{zh}会{changes[down]}百分之多少",
        "?",
    )


@pattern(weight=0.8)
def from_to_percent(draw: Draw) -> Triple:
    return _from_to(draw, asked=False)


@pattern(weight=0.8)
def from_to_percent_asked(draw: Draw) -> Triple:
    return _from_to(draw, asked=True)


def _from_to(draw: Draw, *, asked: bool) -> Triple:
    en, de, zh = draw.pick(
        (("the error rate", "die Fehlerrate", "错误率"), ("the unemployment rate", "die Arbeitslosenquote", "失业率"))
    )  # fmt: skip
    first = draw.number(10, 98)
    second = draw.number(2, first - 1) if draw.chance(0.5) else draw.number(first + 1, 99)
    fell, fall, wort, dong = (
        ("fell", "fall", "gesunken", "下降") if second < first else ("rose", "rise", "gestiegen", "上升")
    )
    by = f"from {en_number(first)} to {en_number(second)} percent"
    um = f"von {german.cardinal(first)} auf {german.cardinal(second)} Prozent {wort}"
    said = f"{zh}从百分之{zh_number(first)}{dong}到了百分之{zh_number(second)}"
    if asked:
        return spoken(f"did {en} {fall} {by}", f"ist {de} {um}", f"{said}吗", "?")
    return spoken(f"{en} {fell} {by}", f"{de} ist {um}", said)


@pattern(weight=0.8)
def percent_of(draw: Draw) -> Triple:
    number, noun, verb = draw.number(2, 99), draw.noun("person"), draw.pick(
        [verb for verb in lexicon.VERBS if verb.forms[0] in ("use", "support", "need", "understand")]
    )  # fmt: skip
    thing = draw.thing(" ".join(tag for tag in verb.takes.split() if tag != "person"), plain=True)
    people = german.noun(noun.de, noun.de_plural, noun.gender, "gen", weak=noun.weak, many=True)
    return spoken(
        f"{en_number(number)} percent of the {noun.plural} {verb.forms[0]} {thing.en}",
        f"{german.cardinal(number)} Prozent der {people} {verb.de_forms[0]} {thing.case('acc')}",
        f"百分之{zh_number(number)}的{noun.zh}{verb.zh}{thing.zh_as_object}",
    )


_STARTS = (("begins", "beginnt", "开始"), ("ends", "endet", "结束"))


@pattern()
def clock(draw: Draw) -> Triple:
    noun, (verb, wort, dong), hour = draw.noun("event exam"), draw.pick(_STARTS), draw.number(1, 12)
    phrase = singular(draw.pick(("the", "our", "this")), noun)
    day, tag, zh_day = draw.pick(lexicon.WEEKDAYS)
    if draw.chance(0.5):
        en, de = f"at {en_number(hour)} o'clock", f"um {'ein' if hour == 1 else german.cardinal(hour)} Uhr"
        zh = zh_count(hour, "点")
    else:  # German counts the half towards the next hour
        following = hour % 12 + 1
        en, de = (
            f"at half past {en_number(hour)}",
            f"um halb {'eins' if following == 1 else german.cardinal(following)}",
        )
        zh = zh_count(hour, "点") + "半"
    when = f"在{zh_day}的{zh}" if hour >= 10 else zh_day + zh  # lest 星期三十二点 read as thirty-two
    return spoken(
        f"{phrase.en} {verb} {en} on {day}",
        f"{phrase.case('nom')} {wort} am {tag} {de}",
        f"{phrase.zh}{when}{dong}",
    )


@pattern(weight=0.7)
def from_until(draw: Draw) -> Triple:
    noun, first = draw.noun("event exam"), draw.number(2, 10)
    phrase, last = singular(draw.pick(("the", "our", "this")), noun), draw.number(first + 1, 12)
    return spoken(
        f"{phrase.en} will last from {en_number(first)} to {en_number(last)} o'clock",
        f"{phrase.case('nom')} wird von {german.cardinal(first)} bis {german.cardinal(last)} Uhr dauern",
        f"{phrase.zh}将从{zh_count(first, '点')}持续到{zh_count(last, '点')}",
    )


_SPANS = (("hours", "Stunden", "个小时", 2, 8), ("minutes", "Minuten", "分钟", 10, 90))


@pattern(weight=0.8)
def lasted(draw: Draw) -> Triple:
    noun, (day, tag, ri) = draw.noun("event exam"), draw.pick(lexicon.WEEKDAYS)
    hours, stunden, xiaoshi, low, high = draw.pick(_SPANS)
    number = draw.number(low, high)
    return spoken(
        f"the {noun.en} on {day} lasted {en_number(number)} {hours}",
        f"{german.determiner('der', noun.gender, 'nom')} {noun.de} am {tag} hat "
        f"{german.cardinal(number)} {stunden} gedauert",
        f"{ri}的{noun.zh}持续了{zh_count(number, xiaoshi)}",
    )


_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
    "twentieth",
)  # fmt: skip


@pattern()
def on_date(draw: Draw) -> Triple:
    noun, (city, stadt, shi) = draw.noun("held"), draw.pick(lexicon.CITIES)
    day, (month, monat, yue) = draw.number(1, 20), draw.pick(lexicon.MONTHS)
    phrase = singular(draw.pick(("the", "our", "this")), noun)
    return spoken(
        f"{phrase.en} will take place in {city} on the {_ORDINALS[day - 1]} of {month}",
        f"{phrase.case('nom')} wird am {german.ordinal(day)}en {monat} in {stadt} stattfinden",
        f"{phrase.zh}将于{yue}{zh_number(day)}日在{shi}举行",
    )


@pattern(weight=0.8)
def ordinal(draw: Draw) -> Triple:
    """The third chapter is about something: 第三章."""
    thing, number = draw.thing("idea method problem point", plain=True), draw.number(1, 20)
    noun, kapitel, zhang = draw.pick((("chapter", "das {} Kapitel", "章"), ("part", "der {} Teil", "部分")))
    return spoken(
        f"the {_ORDINALS[number - 1]} {noun} is about {thing.en}",
        f"{kapitel.format(german.ordinal(number) + 'e')} handelt {german.prepositional('von', thing.case('dat'))}",
        f"第{zh_number(number)}{zhang}讲的是{thing.zh_as_object}",
    )


@pattern(weight=0.8)
def born(draw: Draw) -> Triple:
    who, (city, stadt, shi), year = draw.pick(lexicon.NAMES), draw.pick(lexicon.CITIES), draw.number(1950, 2005)
    return spoken(
        f"{who.en} was born in {city} in {year}",
        f"{who.en} wurde {year} in {stadt} geboren",
        f"{who.zh}{year}年出生在{shi}",
    )


@pattern(weight=0.7)
def founded(draw: Draw) -> Triple:
    noun, year = draw.noun("place"), draw.number(1850, 2020)
    phrase, (city, stadt, shi) = singular("this", noun), draw.pick(lexicon.CITIES)
    return spoken(
        f"{phrase.en} in {city} was founded in {year}",
        f"{phrase.case('nom')} in {stadt} wurde {year} gegründet",
        f"{shi}的{phrase.zh}成立于{year}年",
    )


@pattern(weight=0.6)
def years_old(draw: Draw) -> Triple:
    who, number = draw.person(), draw.number(21, 70)
    while who.person != "3s":
        who = draw.person()
    return spoken(
        f"{who.en} is {en_number(number)} years old",
        f"{who.case('nom')} ist {german.cardinal(number)} Jahre alt",
        f"{who.zh}{zh_number(number)}岁",
    )


def _thousands(number: int) -> str:
    ten_thousands, thousands = divmod(number, 10)
    head = zh_count(ten_thousands, "万") if ten_thousands else ""
    return head + (zh_count(thousands, "千") if thousands else "")


@pattern(weight=0.8)
def costs(draw: Draw) -> Triple:
    noun, number = draw.noun("device"), draw.number(2, 99)
    adjective = draw.adjective(noun) if draw.chance(0.6) else None
    phrase = singular(draw.pick(("the", "this")), noun, adjective)
    if draw.chance(0.5):
        en, de, zh = en_number(number), german.cardinal(number), zh_count(number, "")
    else:
        en, de, zh = f"{en_number(number)} thousand", f"{german.cardinal(number)}tausend", _thousands(number)
    return spoken(f"{phrase.en} costs {en} euros", f"{phrase.case('nom')} kostet {de} Euro", f"{phrase.zh}售价{zh}欧元")


@pattern(weight=0.6)
def how_much(draw: Draw) -> Triple:
    noun = draw.noun("device")
    adjective = draw.adjective(noun) if draw.chance(0.6) else None
    phrase = singular(draw.pick(("the", "this")), noun, adjective)
    return spoken(f"how much does {phrase.en} cost", f"wie viel kostet {phrase.case('nom')}", f"{phrase.zh}多少钱", "?")

"""What things and people are like: description, comparison, numbers, dates."""

from stc.corpus import german, lexicon
from stc.corpus.clause import auxiliary, be, sentence
from stc.corpus.draw import Draw, Triple, pattern
from stc.corpus.lexicon import Adjective, Noun
from stc.corpus.phrases import Phrase, counted, en_number, plural, singular, zh_count, zh_number

_DEGREES = (
    ("very", "sehr", "非常"),
    ("too", "zu", "太"),
    ("really", "wirklich", "真的很"),
    ("quite", "ziemlich", "相当"),
)


def _described(draw: Draw) -> tuple[Phrase, Adjective]:
    noun = draw.noun("text idea method system device event plan problem talk data")
    many = draw.chance(0.4)
    phrase = plural(draw.pick(("the", "these", "our")), noun) if many else singular(
        draw.pick(("the", "this", "our", "my", "her")), noun)  # fmt: skip
    return phrase, draw.adjective(noun)


@pattern()
def thing_is(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    en, de, zh = draw.pick(_DEGREES)
    tail = "了" if zh == "太" else ""
    return (
        sentence(f"{phrase.en} {be(phrase.person)} {en} {adjective.en}"),
        sentence(f"{phrase.case('nom')} {auxiliary('sein', phrase.person)} {de} {adjective.de}"),
        f"{phrase.zh}{zh}{adjective.zh_predicate}{tail}。",
    )


@pattern(weight=0.7)
def thing_is_not(draw: Draw) -> Triple:
    phrase, adjective = _described(draw)
    enough = draw.chance(0.5)
    en, de, zh = (f"{adjective.en} enough", f"{adjective.de} genug", "不够") if enough else (
        f"very {adjective.en}", f"sehr {adjective.de}", "不太")  # fmt: skip
    return (
        sentence(f"{phrase.en} {be(phrase.person)} not {en}"),
        sentence(f"{phrase.case('nom')} {auxiliary('sein', phrase.person)} nicht {de}"),
        f"{phrase.zh}{zh}{adjective.zh_predicate}。",
    )


@pattern(weight=0.8)
def mood(draw: Draw) -> Triple:
    who, time, word = draw.person(), draw.time("past"), draw.pick(lexicon.MOODS)
    en, de, zh = draw.pick((("very", "sehr", "非常"), ("a little", "ein wenig", "有点"), ("rather", "recht", "挺")))
    return (
        sentence(f"{who.en} {be(who.person, past=True)} {en} {word.en} {time.en}"),
        sentence(f"{who.case('nom')} {auxiliary('war', who.person)} {time.de} {de} {word.de}"),
        f"{who.zh}{time.zh}{zh}{word.zh_predicate}{'的' if zh == '挺' else ''}。",
    )


def _more(adjective: Adjective) -> str:
    return adjective.forms.split()[0] if adjective.forms else f"more {adjective.en}"


def _pair(draw: Draw) -> tuple[Noun, Noun, Adjective]:
    first = draw.noun("text idea system device event plan")
    second = draw.noun(first.tags)
    while second is first:
        first = draw.noun("text idea system device event plan")
        second = draw.noun(first.tags)
    shared = set(first.tags.split()) & set(second.tags.split())
    fitting = [word for word in lexicon.ADJECTIVES if shared & set(word.tags.split())]
    return first, second, draw.pick(fitting)


@pattern(weight=1.2)
def comparative(draw: Draw) -> Triple:
    first, second, adjective = _pair(draw)
    one, other = singular(draw.pick(("the", "this", "our")), first), singular(draw.pick(("the", "my", "her")), second)
    return (
        sentence(f"{one.en} is {_more(adjective)} than {other.en}"),
        sentence(f"{one.case('nom')} ist {german.comparative(adjective.de)} als {other.case('nom')}"),
        f"{one.zh}比{other.zh}更{adjective.zh_predicate}。",
    )


@pattern(held_out=True)
def equal(draw: Draw) -> Triple:
    first, second, adjective = _pair(draw)
    one, other = singular(draw.pick(("the", "this", "our")), first), singular(draw.pick(("the", "my", "her")), second)
    return (
        sentence(f"{one.en} is as {adjective.en} as {other.en}"),
        sentence(f"{one.case('nom')} ist so {adjective.de} wie {other.case('nom')}"),
        f"{one.zh}和{other.zh}一样{adjective.zh_predicate}。",
    )


@pattern(weight=0.8)
def superlative(draw: Draw) -> Triple:
    noun = draw.noun("text idea system device plan problem")
    adjective, what = draw.adjective(noun), draw.pick(("this", "her", "our"))
    most = adjective.forms.split()[1] if adjective.forms else f"most {adjective.en}"
    name, de, zh = draw.pick(lexicon.CITIES)
    stem = german.superlative(adjective.de)
    subject = {"this": "This", "her": "That", "our": "It"}[what]
    head = {"this": ("Dies", "这"), "her": ("Das", "那"), "our": ("Es", "它")}[what]
    article = german.determiner("der", noun.gender, "nom")
    return (
        f"{subject} is the {most} {noun.en} in {name}.",
        f"{head[0]} ist {article} {german.adjective(stem, 'der', noun.gender, 'nom')} {noun.de} in {de}.",
        f"{head[1]}是{zh}最{adjective.zh_predicate}的{noun.zh}。",
    )


@pattern()
def there_are(draw: Draw) -> Triple:
    noun = draw.noun("text device person chart problem find")
    number, place = draw.number(2, 99), draw.place()
    phrase = counted(number, noun)
    where = place.zh.removeprefix("在")
    return (
        sentence(f"there are {phrase.en} {place.en}"),
        sentence(f"{place.de} gibt es {phrase.case('acc')}"),
        f"{where}有{phrase.zh}。",
    )


_QUANTITIES = (
    ("error rate", "die Fehlerrate", "错误率"),
    ("price", "der Preis", "价格"),
    ("number of students", "die Zahl der Studenten", "学生人数"),
    ("unemployment rate", "die Arbeitslosenquote", "失业率"),
    ("income", "das Einkommen", "收入"),
    ("quality", "die Qualität", "质量"),
    ("speed", "die Geschwindigkeit", "速度"),
)


@pattern(weight=1.2)
def percent(draw: Draw) -> Triple:
    en, de, zh = draw.pick(_QUANTITIES)
    (verb, wort, dong), time, number = draw.pick(
        (("increased", "gestiegen", "提高"), ("decreased", "gesunken", "降低"))
    ), draw.time("past"), draw.number(2, 99)  # fmt: skip
    if en == "number of students":
        dong = {"提高": "增加", "降低": "减少"}[dong]
    return (
        f"The {en} {verb} by {en_number(number)} percent {time.en}.",
        sentence(f"{de} ist {time.de} um {german.cardinal(number)} Prozent {wort}"),
        f"{time.zh}{zh}{dong}了百分之{zh_number(number)}。",
    )


_STARTS = (("begins", "beginnt", "开始"), ("ends", "endet", "结束"))


@pattern()
def clock(draw: Draw) -> Triple:
    noun, (verb, wort, dong), hour = draw.noun("event exam"), draw.pick(_STARTS), draw.number(1, 12)
    phrase = singular(draw.pick(("the", "our", "this")), noun)
    day, tag, zh_day = draw.pick(lexicon.WEEKDAYS)
    return (
        sentence(f"{phrase.en} {verb} at {en_number(hour)} o'clock on {day}"),
        sentence(f"{phrase.case('nom')} {wort} am {tag} um {'ein' if hour == 1 else german.cardinal(hour)} Uhr"),
        f"{phrase.zh}{zh_day}{zh_count(hour, '点')}{dong}。",
    )


_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)


def _date(draw: Draw) -> Triple:
    day, (month, monat, yue) = draw.number(1, 20), draw.pick(lexicon.MONTHS)
    return (
        f"on the {_ORDINALS.split()[day - 1]} of {month}",
        f"am {german.ordinal(day)}en {monat}",
        f"{yue}{zh_number(day)}日",
    )


@pattern()
def on_date(draw: Draw) -> Triple:
    noun, (en, de, zh), (city, stadt, shi) = draw.noun("event exam"), _date(draw), draw.pick(lexicon.CITIES)
    phrase = singular(draw.pick(("the", "our", "this")), noun)
    return (
        sentence(f"{phrase.en} will take place in {city} {en}"),
        sentence(f"{phrase.case('nom')} findet {de} in {stadt} statt"),
        f"{phrase.zh}将于{zh}在{shi}举行。",
    )


@pattern(weight=0.8)
def born(draw: Draw) -> Triple:
    who, (city, stadt, shi), year = draw.pick(lexicon.NAMES), draw.pick(lexicon.CITIES), draw.number(1950, 2005)
    return (
        f"{who.en} was born in {city} in {year}.",
        f"{who.en} wurde {year} in {stadt} geboren.",
        f"{who.zh}{year}年出生在{shi}。",
    )


@pattern(weight=0.8)
def costs(draw: Draw) -> Triple:
    noun, number = draw.noun("device"), draw.number(2, 99)
    adjective = draw.adjective(noun) if draw.chance(0.6) else None
    phrase = singular(draw.pick(("the", "this", "our")), noun, None)
    if adjective:
        phrase = singular(draw.pick(("the", "this")), noun, adjective)
    return (
        sentence(f"{phrase.en} costs {en_number(number)} thousand euros"),
        sentence(f"{phrase.case('nom')} kostet {german.cardinal(number)}tausend Euro"),
        f"{phrase.zh}的价格是{_thousands(number)}欧元。",
    )


def _thousands(number: int) -> str:
    ten_thousands, thousands = divmod(number, 10)
    head = zh_count(ten_thousands, "万") if ten_thousands else ""
    return head + (zh_count(thousands, "千") if thousands else "")

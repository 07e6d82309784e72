"""Two clauses in time: while, before, after, when, first and then."""

from collections.abc import Sequence
from dataclasses import replace

from talks.clause import Clause, Tense, auxiliary, be, spoken
from talks.draw import LASTING_VERBS, Draw, Triple, pattern, same_thing
from talks.phrases import PRONOUNS


@pattern(weight=1.2)
def while_doing(draw: Draw) -> Triple:
    first, second = draw.short("progressive"), draw.short("progressive")
    while first.subject == second.subject:
        second = draw.short("progressive")
    return spoken(
        f"while {first.en()}, {second.en()}",
        f"während {first.de_final()}, {second.de_inverted()}".replace(" gerade", "", 1),
        f"{first.zh()}的时候，{second.zh()}",
    )


def _two(
    draw: Draw, first: Tense, second: Tense, *, subject: str = "", without: Sequence[str] = ()
) -> tuple[Clause, Clause]:
    """Both about the same people, by a pronoun because they are named twice."""
    who = PRONOUNS[subject or draw.pick(("I", "we", "he", "she", "they"))]
    while True:
        one = draw.short(first, words=6, subject=who, without=without)
        other = draw.short(second, words=6, subject=who, without=without)
        if one.object and other.object and not same_thing(one.object, other.object):
            return one, other


def _before(first: Clause, second: Clause) -> Triple:
    return spoken(
        f"before {first.en()}, {second.en()}",
        f"bevor {first.de_final()}, {second.de_inverted()}",
        f"在{first.zh_bare()}之前，{second.zh()}",
    )


@pattern()
def before(draw: Draw) -> Triple:
    return _before(*_two(draw, "past", "past", without=LASTING_VERBS))


@pattern(weight=1.5)
def before_future(draw: Draw) -> Triple:
    first, second = _two(draw, "future", "future", without=LASTING_VERBS)
    return _before(replace(first, tense="present"), second)


@pattern(held_out=True)
def before_modal(draw: Draw) -> Triple:
    subject = draw.pick(("we", "he", "she", "they"))
    first, second = _two(draw, "future", draw.pick(("must", "should")), subject=subject, without=LASTING_VERBS)
    return _before(replace(first, tense="present"), second)


@pattern(weight=1.2)
def after(draw: Draw) -> Triple:
    first, second = _two(draw, "pluperfect", "past")
    return spoken(
        f"after {first.en()}, {second.en()}",
        f"nachdem {first.de_final()}, {second.de_inverted()}",
        f"{first.subject.zh}{first.zh_bare('了')}之后，{second.zh_predicate()}",
    )


@pattern(weight=1.8)
def as_soon_as(draw: Draw) -> Triple:
    return _as_soon_as(draw, "future")


def _as_soon_as(draw: Draw, tense: Tense) -> Triple:
    first, second = _two(draw, "future", tense, without=LASTING_VERBS)
    now = replace(first, tense="present")
    return spoken(
        f"as soon as {now.en()}, {second.en()}",
        f"sobald {now.de_final()}, {second.de_inverted()}",
        f"{now.subject.zh}一{now.zh_bare()}，就{second.zh_predicate()}",
    )


_WAITING = (
    ("we will wait", "wir werden warten", "我们会等到"),
    ("they want to stay here", "sie wollen hier bleiben", "他们想在这里待到"),
)


@pattern(weight=1.5)
def until(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(_WAITING), draw.short("future", without=LASTING_VERBS)
    clause = replace(clause, tense="present")
    same = clause.subject in (PRONOUNS["we"], PRONOUNS["they"]) and zh.startswith(clause.subject.zh)
    who = "" if same else clause.subject.zh  # not 他们想待到他们…
    return spoken(f"{en} until {clause.en()}", f"{de}, bis {clause.de_final()}", f"{zh}{who}{clause.zh_bare()}为止")


_MOMENTS = (
    ("I came in", "ich hereinkam", "我进来"),
    ("the lights went out", "das Licht ausging", "灯灭"),
    ("the phone rang", "das Telefon klingelte", "电话响"),
    ("the train arrived", "der Zug ankam", "火车到"),
    ("the guests left", "die Gäste gingen", "客人们离开"),
    ("it began to rain", "es zu regnen begann", "开始下雨"),
)
# What leads to no end of its own, so that one is not dabei, es zu tun.
_ENDLESS = ("attend", "wait", "listen", "lead", "use", "accompany", "look", "work", "talk")


@pattern(weight=1.2)
def when_it_happened(draw: Draw) -> Triple:
    (en, de, zh), clause = draw.pick(_MOMENTS), draw.short("progressive", without=_ENDLESS)
    while clause.subject.en == "I":
        clause = draw.short("progressive", without=_ENDLESS)
    who = clause.subject
    doing = f"{clause.verb.forms[4]} {clause.en_infinitive().split(' ', 1)[1]}"
    return spoken(
        f"when {en}, {who.en} {be(who.person, past=True)} {doing}",
        f"als {de}, {auxiliary('war', who.person)} {who.case('nom')} gerade dabei, "
        f"{replace(clause, tense='present').de_infinitive()}",
        f"{zh}的时候，{clause.zh()}",
    )


@pattern()
def first_then(draw: Draw) -> Triple:
    first, second = _two(draw, "future", "future", without=(*LASTING_VERBS, "receive"))  # 再 is for what one intends
    return spoken(
        f"first {first.en()}, then {second.en()}",
        f"zuerst {first.de_inverted()}, dann {second.de_inverted()}",
        f"{first.subject.zh}会先{first.zh_bare()}，然后再{second.zh_bare()}",
    )


@pattern(weight=1.2)
def before_can(draw: Draw) -> Triple:
    """What can, will not or had to be done before something."""
    tense: Tense = draw.pick(("can", "want", "future", "had to"))
    first, second = _two(draw, "future", "future" if tense == "had to" else tense, without=LASTING_VERBS)
    if tense == "had to":
        while not second.verb.willed:
            first, second = _two(draw, "future", "future", without=LASTING_VERBS)
        return _before(replace(first, tense="past"), replace(second, tense="had to"))
    return _before(replace(first, tense="present"), replace(second, negated=tense == "future"))


@pattern()
def as_soon_as_modal(draw: Draw) -> Triple:
    return _as_soon_as(draw, draw.pick(("must", "should", "can")))


@pattern(weight=1.2)
def after_modal(draw: Draw) -> Triple:
    """What must, should or can be done after something, or could not be done."""
    tense: Tense = draw.pick(("must", "should", "can", "could"))
    first, second = _two(draw, "pluperfect", tense, without=LASTING_VERBS)
    second = replace(second, negated=tense == "could")
    had, done = first.en(), first.de_final()
    if tense != "could":
        had = had.replace(" had ", " has " if first.subject.person == "3s" else " have ", 1)
        done = replace(first, tense="past").de_final()
    return spoken(
        f"after {had}, {second.en()}",
        f"nachdem {done}, {second.de_inverted()}",
        f"{first.subject.zh}{first.zh_bare('了')}之后，{second.zh_predicate()}",
    )


@pattern()
def when_should_one(draw: Draw) -> Triple:
    """What must or should be done whenever something else is."""
    tense: Tense = draw.pick(("must", "should", "can"))
    first, second = _two(draw, "progressive", tense, without=LASTING_VERBS)
    while first.verb == second.verb:
        first, second = _two(draw, "progressive", tense, without=LASTING_VERBS)
    first = replace(first, tense="present")
    return spoken(
        f"when {first.en()}, {second.en()}",
        f"wenn {first.de_final()}, {second.de_inverted()}",
        f"{first.subject.zh}{first.zh_bare()}的时候，{second.zh_predicate()}",
    )


@pattern()
def while_modal(draw: Draw) -> Triple:
    first, second = draw.short("progressive", words=6), draw.short(draw.modal(), words=7)
    while first.subject == second.subject:
        second = draw.short(draw.modal(), words=7)
    return spoken(
        f"while {first.en()}, {second.en()}",
        f"während {first.de_final()}, {second.de_inverted()}".replace(" gerade", "", 1),
        f"{first.zh()}的时候，{second.zh()}",
    )

"""Two clauses joined by a reason, a condition or a contrast."""

from dataclasses import dataclass

from talks.clause import Clause, Tense, auxiliary, spoken
from talks.draw import LASTING_VERBS, Draw, Triple, pattern
from talks.phrases import Phrase, singular


@dataclass(frozen=True)
class State:
    """How things are. ``de``: what comes before the finite verb, what it governs, and the verb itself."""

    en: str
    de: tuple[str, str, str]
    zh: str
    second: str = ""  # the German with the verb second where the verb parts

    @property
    def de_final(self) -> str:
        return " ".join(part for part in self.de if part)

    @property
    def de_second(self) -> str:
        return self.second or " ".join(part for part in (self.de[0], self.de[2], self.de[1]) if part)


_PAST = (
    State("the network was slow", ("das Netzwerk", "langsam", "war"), "网络很慢"),
    State("the weather was bad", ("das Wetter", "schlecht", "war"), "天气不好"),
    State("the train was late", ("der Zug", "Verspätung", "hatte"), "火车晚点了"),
    State("nobody had time", ("niemand", "Zeit", "hatte"), "谁都没有时间"),
    State("it was too late", ("es", "zu spät", "war"), "太晚了"),
    State("the room was too small", ("der Raum", "zu klein", "war"), "房间太小了"),
    State("the door was locked", ("die Tür", "abgeschlossen", "war"), "门锁着"),
    State("the results were unclear", ("die Ergebnisse", "unklar", "waren"), "结果不明确"),
    State("we had no money", ("wir", "kein Geld", "hatten"), "我们没有钱"),
    State("everyone was tired", ("alle", "müde", "waren"), "大家都累了"),
    State("the data was incomplete", ("die Daten", "unvollständig", "waren"), "数据不完整"),
    State("many people were ill", ("viele Leute", "krank", "waren"), "很多人生病了"),
)

_NOW = (
    State("we have enough time", ("wir", "genug Zeit", "haben"), "我们有足够的时间"),
    State("we have no money", ("wir", "kein Geld", "haben"), "我们没有钱"),
    State("nobody objects", ("niemand", "", "widerspricht"), "没有人反对"),
    State("everyone agrees", ("alle", "", "zustimmen"), "大家都同意", second="alle stimmen zu"),
    State("the train is late", ("der Zug", "Verspätung", "hat"), "火车晚点"),
    State("the weather is good", ("das Wetter", "gut", "ist"), "天气好"),
    State("there is a problem", ("es", "ein Problem", "gibt"), "有问题"),
)

_CONDITIONS = (
    *_NOW,
    State("it rains tomorrow", ("es", "morgen", "regnet"), "明天下雨"),
    State("the test fails", ("der Test", "", "fehlschlägt"), "测试失败"),
    State("the price falls", ("der Preis", "", "sinkt"), "价格下降"),
    State("the customer pays", ("der Kunde", "", "bezahlt"), "客户付款"),
    State("the computer works again", ("der Computer", "wieder", "funktioniert"), "电脑恢复正常"),
)

_UNREAL = (
    State("we had more time", ("wir", "mehr Zeit", "hätten"), "我们有更多时间"),
    State("the price were lower", ("der Preis", "niedriger", "wäre"), "价格低一些"),
    State("the weather were better", ("das Wetter", "besser", "wäre"), "天气好一些"),
    State("the room were larger", ("der Raum", "größer", "wäre"), "房间大一些"),
    State("the network were faster", ("das Netzwerk", "schneller", "wäre"), "网络快一些"),
    State("we knew the answer", ("wir", "die Antwort", "wüssten"), "我们知道答案"),
    State("there were no problems", ("es", "keine Probleme", "gäbe"), "没有问题"),
    State("everyone had a computer", ("alle", "einen Computer", "hätten"), "每个人都有电脑"),
)


@pattern(weight=1.5)
def because(draw: Draw) -> Triple:
    clause, state = draw.short(negated=draw.chance(0.6)), draw.pick(_PAST)
    return _because(clause, state)


def _because(clause: Clause, state: State) -> Triple:
    return spoken(
        f"{clause.en()} because {state.en}",
        f"{clause.de()}, weil {state.de_final}",
        f"因为{state.zh}，所以{clause.zh()}",
    )


@pattern(held_out=True)
def because_now(draw: Draw) -> Triple:
    return _because(draw.short(draw.pick(("future", "must", "can"))), draw.pick(_NOW))


@pattern()
def so(draw: Draw) -> Triple:
    clause, state = draw.short(negated=draw.chance(0.5)), draw.pick(_PAST)
    return _so(clause, state)


@pattern()
def because_had_to(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("had to", "had to", "had to", "could", "could", "perfect", "must", "future"))
    return _because(draw.short(tense, negated=tense in ("could", "perfect")), draw.pick(_PAST))


# What leads to nothing that could be a reason.
_ENDLESS = (*LASTING_VERBS, "look", "wait", "listen", "work", "talk")


@pattern(weight=0.8)
def because_had(draw: Draw) -> Triple:
    first = draw.short(draw.pick(("past", "had to")), words=7)
    second = draw.short("pluperfect", words=8, without=(*_ENDLESS, first.verb.forms[0]))
    while second.subject == first.subject:
        second = draw.short("pluperfect", words=8, without=(*_ENDLESS, first.verb.forms[0]))
    return spoken(
        f"{first.en()} because {second.en()}",
        f"{first.de()}, weil {second.de_final()}",
        f"因为{second.subject.zh}{second.zh_bare('了')}，所以{first.zh()}",
    )


@pattern()
def so_had_to(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("had to", "had to", "could"))
    return _so(draw.short(tense, negated=tense == "could"), draw.pick(_PAST))


@pattern()
def so_now(draw: Draw) -> Triple:
    return _so(draw.short(draw.pick(("future", "must", "can", "should"))), draw.pick(_NOW))


def _so(clause: Clause, state: State) -> Triple:
    return spoken(
        f"{state.en}, so {clause.en()}",
        f"{state.de_second}, deshalb {clause.de_inverted()}",
        f"{state.zh}，所以{clause.zh()}",
    )


@pattern()
def since_now(draw: Draw) -> Triple:
    clause, state = draw.short(draw.pick(("future", "must", "can"))), draw.pick(_NOW)
    return spoken(
        f"since {state.en}, {clause.en()}",
        f"da {state.de_final}, {clause.de_inverted()}",
        f"既然{state.zh}，{clause.subject.zh}就{clause.zh_predicate()}",
    )


@pattern(weight=0.8)
def state_but(draw: Draw) -> Triple:
    """A contrast with how things are or were."""
    if draw.chance(0.6):
        tense: Tense = draw.pick(("future", "must", "can", "want"))
        clause, state = draw.short(tense, negated=tense != "must"), draw.pick(_NOW)
    else:
        tense = draw.pick(("past", "had to", "could"))
        clause, state = draw.short(tense, negated=tense == "could"), draw.pick(_PAST)
    return spoken(
        f"{state.en}, but {clause.en()}", f"{state.de_second}, aber {clause.de()}", f"{state.zh}，但是{clause.zh()}"
    )


def _although(clause: Clause, state: State, *, first: bool) -> Triple:
    zh = f"虽然{state.zh}，但是{clause.zh()}"
    if first:
        return spoken(f"although {state.en}, {clause.en()}", f"obwohl {state.de_final}, {clause.de_inverted()}", zh)
    return spoken(f"{clause.en()} although {state.en}", f"{clause.de()}, obwohl {state.de_final}", zh)


@pattern(weight=1.2)
def although(draw: Draw) -> Triple:
    return _although(draw.short(), draw.pick(_PAST), first=draw.chance(0.5))


@pattern(held_out=True)
def although_had_to(draw: Draw) -> Triple:
    return _although(draw.short("had to"), draw.pick(_PAST), first=True)


@pattern()
def although_not(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("could", "perfect", "future", "can"))
    negated = tense in ("could", "perfect") or draw.chance(0.4)
    return _although(draw.short(tense, negated=negated), draw.pick(_PAST), first=draw.chance(0.6))


@pattern()
def although_now(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("future", "must", "can", "want"))
    clause = draw.short(tense, negated=tense != "must" and draw.chance(0.6))
    return _although(clause, draw.pick(_NOW), first=draw.chance(0.5))


def _if(clause: Clause, state: State, *, first: bool) -> Triple:
    zh = f"如果{state.zh}，{clause.subject.zh}就{clause.zh_predicate()}"
    if first:
        return spoken(f"if {state.en}, {clause.en()}", f"wenn {state.de_final}, {clause.de_inverted()}", zh)
    return spoken(f"{clause.en()} if {state.en}", f"{clause.de()}, wenn {state.de_final}", zh)


@pattern(weight=1.5)
def if_then(draw: Draw) -> Triple:
    return _if(draw.short(draw.pick(("future", "can", "must"))), draw.pick(_CONDITIONS), first=True)


@pattern(weight=0.8)
def then_if(draw: Draw) -> Triple:
    return _if(draw.short("future", negated=True), draw.pick(_CONDITIONS), first=False)


@pattern()
def if_should(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("should", "future", "can"))
    clause = draw.short(tense, negated=tense != "should" or draw.chance(0.5))
    return _if(clause, draw.pick(_CONDITIONS), first=True)


@pattern(weight=1.2)
def unreal(draw: Draw) -> Triple:
    return _if(draw.short("would"), draw.pick(_UNREAL), first=draw.chance(0.6))


@pattern(held_out=True)
def unreal_negated(draw: Draw) -> Triple:
    return _if(draw.short("would", negated=True), draw.pick(_UNREAL), first=True)


@pattern(weight=0.8)
def would_not_if(draw: Draw) -> Triple:
    return _if(draw.short("would", negated=True), draw.pick(_UNREAL), first=False)


@pattern(weight=1.5)
def but(draw: Draw) -> Triple:
    first, second = draw.short(words=6), draw.short("perfect", negated=True)
    return spoken(
        f"{first.en()}, but {second.en()}", f"{first.de()}, aber {second.de()}", f"{first.zh()}，但是{second.zh()}"
    )


def _two(draw: Draw) -> tuple[Phrase, Clause, Phrase, Phrase]:
    """A subject, its clause without an object, and two different objects."""
    verb, tags = draw.transitive()
    first, second = draw.noun(tags), draw.noun(tags)
    while second is first:
        verb, tags = draw.transitive()
        first, second = draw.noun(tags), draw.noun(tags)
    subject = draw.subject()
    return subject, Clause(subject, verb, None, "past"), singular("the", first), singular("the", second)


@pattern()
def not_but(draw: Draw) -> Triple:
    subject, clause, one, other = _two(draw)
    verb = clause.verb
    return spoken(
        f"{subject.en} {verb.forms[2]} not {one.en} but {other.en}",
        f"{subject.case('nom')} {auxiliary('haben', subject.person)} nicht {one.case('acc')}, "
        f"sondern {other.case('acc')} {verb.de_forms[2]}",
        f"{subject.zh}{verb.zh}的不是{one.zh}，而是{other.zh}",
    )


@pattern()
def either_or(draw: Draw) -> Triple:
    subject, clause, one, other = _two(draw)
    verb = clause.verb
    return spoken(
        f"{subject.en} will {verb.forms[0]} either {one.en} or {other.en}",
        f"{subject.case('nom')} {auxiliary('future', subject.person)} entweder {one.case('acc')} "
        f"oder {other.case('acc')} {verb.infinitive}",
        f"{subject.zh}会{verb.zh}{one.zh}或者{other.zh}",
    )


@pattern()
def both_and(draw: Draw) -> Triple:
    subject, clause, one, other = _two(draw)
    verb = clause.verb
    return spoken(
        f"{subject.en} {'has' if subject.person == '3s' else 'have'} {verb.forms[3]} both {one.en} and {other.en}",
        f"{subject.case('nom')} {auxiliary('haben', subject.person)} sowohl {one.case('acc')} "
        f"als auch {other.case('acc')} {verb.de_forms[2]}",
        f"{one.zh}和{other.zh}，{subject.zh}都{verb.zh}了",
    )

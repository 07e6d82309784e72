"""What is known, asked and told of how, where, what, which, how many, who, why and whether."""

from dataclasses import dataclass

from talks import german
from talks.clause import Clause, Tense, Triple, spoken
from talks.draw import LASTING_VERBS, Draw, pattern
from talks.lexicon import Verb
from talks.patterns.content import UNKNOWN
from talks.phrases import PRONOUNS, Phrase, fixed, singular


@dataclass(frozen=True)
class Frame:
    """What comes before a dependent question; ``zh`` has ``{}`` where that stands."""

    en: str
    de: str
    zh: str
    end: str = "."

    def around(self, en: str, de: str, zh: str) -> Triple:
        return spoken(f"{self.en} {en}", f"{self.de}, {de}", self.zh.format(zh), self.end)


_UNKNOWN = tuple(Frame(en, de, zh + "{}") for en, de, zh in UNKNOWN)
_ASKED = (
    Frame("I wonder", "ich frage mich", "我想知道{}"),
    Frame("do you know", "wissen Sie", "您知道{}吗", "?"),
    Frame("can you tell me", "können Sie mir sagen", "您能告诉我{}吗", "?"),
    Frame("it is not clear", "es ist nicht klar", "还不清楚{}"),
)
_TOLD = (
    Frame("please explain", "bitte erklären Sie", "请解释一下{}"),
    Frame("she explained", "sie hat erklärt", "她解释了{}"),
    Frame("we discussed", "wir haben besprochen", "我们讨论了{}"),
)
_NOTHING = ("", "", "", "")


def _other(draw: Draw) -> Phrase:
    """Someone whose deeds one may know nothing of."""
    return draw.pick((PRONOUNS["he"], PRONOUNS["they"], draw.person(), draw.person()))


def _ours(draw: Draw) -> Phrase:
    return draw.pick((PRONOUNS["we"], PRONOUNS["they"], PRONOUNS["he"], draw.person()))


def _transitive(draw: Draw) -> tuple[Verb, str]:
    while True:
        verb, tags = draw.transitive()
        if verb.willed and verb.forms[0] not in LASTING_VERBS:
            return verb, tags


@pattern(weight=1.2)
def how_known(draw: Draw) -> Triple:
    frame, subject = draw.pick(_UNKNOWN + _ASKED + _TOLD), _ours(draw)
    clause = draw.short("can", subject=subject)
    while not clause.verb.plain_object or clause.verb.takes == "person":
        clause = draw.short("can", subject=subject)
    return frame.around(f"how {clause.en()}", f"wie {clause.de_final()}", f"{subject.zh}怎样才能{clause.zh_bare()}")


@pattern()
def where_known(draw: Draw) -> Triple:
    frame, subject = draw.pick(_UNKNOWN + _ASKED), _other(draw)
    clause = draw.short(subject=subject, without=LASTING_VERBS)
    while clause.verb.takes == "place":
        clause = draw.short(subject=subject, without=LASTING_VERBS)
    when, wann, zh = draw.pick((("where", "wo", "在哪里"), ("where", "wo", "在哪里"), ("when", "wann", "什么时候")))
    return frame.around(
        f"{when} {clause.en()}", f"{wann} {clause.de_final()}", f"{subject.zh}是{zh}{clause.zh_bare()}的"
    )


@pattern()
def what_known(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("past", "past", "future", "should"))
    frame, (verb, _) = draw.pick(_UNKNOWN + _ASKED), _transitive(draw)
    subject = _other(draw) if tense == "past" else _ours(draw)
    time = draw.time("past" if tense == "past" else "future", vague=False)
    clause = Clause(subject, verb, Phrase("", _NOTHING, "什么"), tense, time=time)
    return frame.around(f"what {clause.en()}", f"was {clause.de_final()}", clause.zh())


@pattern(weight=1.2)
def which_known(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("past", "past", "should", "can", "must", "future"))
    frame, (verb, tags) = draw.pick(_UNKNOWN + _ASKED), _transitive(draw)
    subject = _other(draw) if tense == "past" else _ours(draw)
    which = singular("which", draw.noun(tags))
    clause = Clause(subject, verb, Phrase("", _NOTHING, which.zh), tense)
    return frame.around(f"{which.en} {clause.en()}", f"{which.case('acc')} {clause.de_final()}", clause.zh())


@pattern(weight=1.2)
def how_many_known(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("future", "future", "past", "must", "should"))
    frame, (verb, tags) = draw.pick(_UNKNOWN + _ASKED), _transitive(draw)
    subject, noun = _other(draw) if tense == "past" else _ours(draw), draw.noun(tags)
    time = draw.time("past" if tense == "past" else "future", vague=False) if draw.chance(0.5) else None
    clause = Clause(subject, verb, Phrase("", _NOTHING, f"多少{noun.classifier}{noun.zh}"), tense, time=time)
    many = german.noun(noun.de, noun.de_plural, noun.gender, "acc", weak=noun.weak, many=True)
    return frame.around(f"how many {noun.plural} {clause.en()}", f"wie viele {many} {clause.de_final()}", clause.zh())


@pattern()
def who_known(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("past", "past", "future", "must"))
    frame, who = draw.pick(_UNKNOWN + _ASKED), fixed("who", "wer", "谁")
    clause = draw.short(tense, subject=who)
    return frame.around(clause.en(), clause.de_final(), ("是" if tense == "past" else "") + clause.zh())


@pattern(weight=1.2)
def why_explained(draw: Draw) -> Triple:
    """Why something must or will be done; who does not know it is not met here."""
    frame = draw.pick(_ASKED[1:] + _TOLD)
    clause = draw.short(draw.pick(("future", "must", "should")), subject=_ours(draw))
    return frame.around(
        f"why {clause.en()}", f"warum {clause.de_final()}", f"{clause.subject.zh}为什么{clause.zh_predicate()}"
    )


@pattern(weight=1.2)
def whether_known(draw: Draw) -> Triple:
    tense: Tense = draw.pick(("can", "should", "past", "must"))
    zh = {"can": "能不能", "should": "应不应该", "past": "有没有", "must": "是不是必须"}[tense]
    frames = _UNKNOWN + _ASKED if tense == "past" else _UNKNOWN + _ASKED + _TOLD[2:]
    clause = draw.short(tense, subject=_other(draw) if tense == "past" else _ours(draw))
    return draw.pick(frames).around(
        f"whether {clause.en()}", f"ob {clause.de_final()}", f"{clause.subject.zh}{zh}{clause.zh_bare()}"
    )

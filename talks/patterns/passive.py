"""The passive: of the past, of the future, of modals, with and without who did it.

Chinese has no general passive. What is done to a plan or a meeting is told with 被; of a report one says when or by
whom it was written (是…的), that it was not, or, without a subject, that one has to or will do it.
"""

from talks.clause import auxiliary, be, spoken
from talks.draw import Draw, Triple, pattern
from talks.german import prepositional
from talks.lexicon import Adverbial, Verb
from talks.patterns.content import OPINIONS, UNKNOWN
from talks.phrases import Phrase


def _happened(draw: Draw, *, negated: bool = False) -> tuple[Phrase, Verb, Adverbial]:
    verb, tags = draw.transitive(passive=True)
    return draw.thing(tags, plain=True), verb, draw.time("past", vague=not negated)


def _zh_done(verb: Verb, thing: Phrase, circumstance: str, *, asked: bool = False) -> str:
    """``circumstance`` is when it happened."""
    if verb.zh_passive == "被":
        return f"{thing.zh}{circumstance}被{verb.zh}了" + ("吗" if asked else "")
    return f"{thing.zh}是{circumstance}{verb.zh}的" + ("吗" if asked else "")


@pattern(weight=1.5)
def passive(draw: Draw) -> Triple:
    thing, verb, time = _happened(draw)
    return spoken(
        f"{thing.en} {be(thing.person, past=True)} {verb.forms[3]} {time.en}",
        f"{thing.case('nom')} {auxiliary('wurde', thing.person)} {time.de} {verb.de_forms[2]}",
        _zh_done(verb, thing, time.zh),
    )


@pattern()
def passive_negated(draw: Draw) -> Triple:
    thing, verb, time = _happened(draw, negated=True)
    done = "被" if verb.zh_passive == "被" else ""
    return spoken(
        f"{thing.en} {be(thing.person, past=True)} not {verb.forms[3]} {time.en}",
        f"{thing.case('nom')} {auxiliary('wurde', thing.person)} {time.de} nicht {verb.de_forms[2]}",
        f"{thing.zh}{time.zh}没有{done}{verb.zh}",
    )


@pattern()
def passive_by(draw: Draw) -> Triple:
    thing, verb, _ = _happened(draw)
    who = draw.person()
    done = f"被{who.zh_as_object}{verb.zh}了" if verb.zh_passive == "被" else f"是{who.zh_as_object}{verb.zh}的"
    von = prepositional("von", who.case("dat"))
    return spoken(
        f"{thing.en} {be(thing.person, past=True)} {verb.forms[3]} by {who.en}",
        f"{thing.case('nom')} {auxiliary('wurde', thing.person)} {von} {verb.de_forms[2]}",
        thing.zh + done,
    )


@pattern()
def passive_asked(draw: Draw) -> Triple:
    thing, verb, time = _happened(draw)
    return spoken(
        f"{be(thing.person, past=True)} {thing.en} {verb.forms[3]} {time.en}",
        f"{auxiliary('wurde', thing.person)} {thing.case('nom')} {time.de} {verb.de_forms[2]}",
        _zh_done(verb, thing, time.zh, asked=True),
        "?",
    )


@pattern(held_out=True)
def passive_when(draw: Draw) -> Triple:
    thing, verb, _ = _happened(draw)
    when = f"{verb.zh}的" if verb.zh_passive == "是" else f"被{verb.zh}的"
    return spoken(
        f"when {be(thing.person, past=True)} {thing.en} {verb.forms[3]}",
        f"wann {auxiliary('wurde', thing.person)} {thing.case('nom')} {verb.de_forms[2]}",
        f"{thing.zh}是什么时候{when}",
        "?",
    )


@pattern(held_out=True)
def that_passive(draw: Draw) -> Triple:
    thing, verb, time = _happened(draw)
    en, de, zh = draw.pick((("I think", "ich denke", "我认为"), ("everyone knows", "alle wissen", "大家都知道")))
    return spoken(
        f"{en} that {thing.en} {be(thing.person, past=True)} {verb.forms[3]} {time.en}",
        f"{de}, dass {thing.case('nom')} {time.de} {verb.de_forms[2]} {auxiliary('wurde', thing.person)}",
        f"{zh}，{_zh_done(verb, thing, time.zh)}",
    )


def _planned(draw: Draw) -> tuple[Phrase, Verb, Adverbial]:
    """Something that goes on, with a verb that 将 can stand before."""
    while True:
        verb, tags = draw.transitive(passive=True)
        if verb.durative and verb.zh_passive == "是" and len(verb.zh) == 2:
            return draw.thing(tags, plain=True), verb, draw.time("future", vague=False)


@pattern()
def passive_future(draw: Draw) -> Triple:
    thing, verb, time = _planned(draw)
    return spoken(
        f"{thing.en} will be {verb.forms[3]} {time.en}",
        f"{thing.case('nom')} {auxiliary('future', thing.person)} {time.de} {verb.de_forms[2]} werden",
        f"{time.zh}将{verb.zh}{thing.zh_as_object}",
    )


@pattern(weight=1.2)
def passive_modal(draw: Draw) -> Triple:
    thing, verb, time = _planned(draw)
    tense, zh = draw.pick((("must", "必须"), ("should", "应该"), ("can", "可以")))
    when = time if draw.chance(0.5) else Adverbial("", "", "")
    return spoken(
        f"{thing.en} {tense} be {verb.forms[3]} {when.en}".rstrip(),
        " ".join(f"{thing.case('nom')} {auxiliary(tense, thing.person)} {when.de} {verb.de_forms[2]} werden".split()),
        f"{when.zh}{zh}{verb.zh}{thing.zh_as_object}",
    )


# How Chinese says that nothing is left to do: 已经翻译好了, 已经讨论过了; other verbs say it by themselves.
_FINISHED = {
    "好": "写 翻译 打印 编辑 修改 准备 设计 安装 修理 录制 筹划",
    "过": "读 检查 总结 讨论 解释 介绍 分析 测试 评估 测量 回答 重复",
}


def _zh_finished(verb: Verb) -> str:
    return verb.zh + "".join(end for end, verbs in _FINISHED.items() if verb.zh in verbs.split()) + "了"


@pattern()
def passive_perfect(draw: Draw) -> Triple:
    thing, verb, _ = _happened(draw)
    has = "have" if thing.person == "3p" else "has"
    done = "被" if verb.zh_passive == "被" else ""
    return spoken(
        f"{thing.en} {has} already been {verb.forms[3]}",
        f"{thing.case('nom')} {auxiliary('sein', thing.person)} schon {verb.de_forms[2]} worden",
        f"{thing.zh}已经{done}{_zh_finished(verb)}",
    )


@pattern()
def passive_why(draw: Draw) -> Triple:
    thing, verb, time = _happened(draw, negated=True)
    while verb.zh_passive != "被":  # of the others Chinese asks why someone did it
        thing, verb, time = _happened(draw, negated=True)
    en, de, zh = (f" {time.en}", f"{time.de} ", time.zh) if draw.chance(0.5) else ("", "", "")
    return spoken(
        f"why {be(thing.person, past=True)} {thing.en} {verb.forms[3]}{en}",
        f"warum {auxiliary('wurde', thing.person)} {thing.case('nom')} {de}{verb.de_forms[2]}",
        f"{thing.zh}{zh}为什么被{verb.zh}了",
        "?",
    )


@pattern()
def passive_where(draw: Draw) -> Triple:
    thing, verb, _ = _planned(draw)
    return spoken(
        f"where {be(thing.person, past=True)} {thing.en} {verb.forms[3]}",
        f"wo {auxiliary('wurde', thing.person)} {thing.case('nom')} {verb.de_forms[2]}",
        f"{thing.zh}是在哪里{verb.zh}的",
        "?",
    )


@pattern()
def passive_will_when(draw: Draw) -> Triple:
    thing, verb, _ = _planned(draw)
    when, wann, zh = draw.pick((("when", "wann", "什么时候会"), ("where", "wo", "会在哪里")))
    return spoken(
        f"{when} will {thing.en} be {verb.forms[3]}",
        f"{wann} {auxiliary('future', thing.person)} {thing.case('nom')} {verb.de_forms[2]}",
        f"{zh}{verb.zh}{thing.zh_as_object}",
        "?",
    )


@pattern()
def passive_by_asked(draw: Draw) -> Triple:
    thing, verb, _ = _happened(draw)
    bei = "被" if verb.zh_passive == "被" else ""
    was, wurde = be(thing.person, past=True), auxiliary("wurde", thing.person)
    if draw.chance(0.4):
        return spoken(
            f"who {was} {thing.en} {verb.forms[3]} by",
            f"von wem {wurde} {thing.case('nom')} {verb.de_forms[2]}",
            f"{thing.zh}是{bei}谁{verb.zh}的",
            "?",
        )
    who = draw.person()
    return spoken(
        f"{was} {thing.en} {verb.forms[3]} by {who.en}",
        f"{wurde} {thing.case('nom')} {prepositional('von', who.case('dat'))} {verb.de_forms[2]}",
        f"{thing.zh}是{bei}{who.zh_as_object}{verb.zh}的吗",
        "?",
    )


@pattern()
def passive_modal_asked(draw: Draw) -> Triple:
    thing, verb, time = _planned(draw)
    tense, zh = draw.pick((("must", "必须"), ("should", "应该"), ("can", "可以")))
    if draw.chance(0.4):
        zh = {"must": "必须怎样", "should": "应该怎样", "can": "怎样才能"}[tense]
        return spoken(
            f"how {tense} {thing.en} be {verb.forms[3]}",
            f"wie {auxiliary(tense, thing.person)} {thing.case('nom')} {verb.de_forms[2]} werden",
            f"{zh}{verb.zh}{thing.zh_as_object}",
            "?",
        )
    return spoken(
        f"{tense} {thing.en} be {verb.forms[3]} {time.en}",
        f"{auxiliary(tense, thing.person)} {thing.case('nom')} {time.de} {verb.de_forms[2]} werden",
        f"{time.zh}{zh}{verb.zh}{thing.zh_as_object}吗",
        "?",
    )


@pattern(weight=1.2)
def that_passive_told(draw: Draw) -> Triple:
    """What was done and when, believed or told by others than in :func:`that_passive`."""
    thing, verb, time = _happened(draw, negated=True)
    who = draw.name()
    en, de, zh = draw.pick(
        (("we believe", "wir glauben", "我们相信"), ("it is clear", "es ist klar", "很明显"),
         ("she said yesterday", "sie hat gestern gesagt", "她昨天说"),
         (f"{who.en} told me", f"{who.en} hat mir gesagt", f"{who.zh}告诉我"))
    )  # fmt: skip
    return spoken(
        f"{en} that {thing.en} {be(thing.person, past=True)} {verb.forms[3]} {time.en}",
        f"{de}, dass {thing.case('nom')} {time.de} {verb.de_forms[2]} {auxiliary('wurde', thing.person)}",
        f"{zh}，{_zh_done(verb, thing, time.zh)}",
    )


@pattern(weight=1.2)
def that_passive_to_come(draw: Draw) -> Triple:
    """What must or will be done, or has been."""
    en, de, zh = draw.pick(OPINIONS[:1] + OPINIONS[2:6])
    thing, verb, time = _planned(draw)
    tense = draw.pick(("future", "must", "should", "can", "perfect"))
    if tense == "perfect":
        done = f"{'have' if thing.person == '3p' else 'has'} already been {verb.forms[3]}"
        getan = f"schon {verb.de_forms[2]} worden {auxiliary('sein', thing.person)}"
        zh_done = f"{thing.zh}已经{_zh_finished(verb)}"
    else:
        done = f"{'will' if tense == 'future' else tense} be {verb.forms[3]} {time.en}"
        # "dass sie morgen trainiert werden", for "trainiert werden werden" is nobody's German
        werden = "" if tense == "future" else "werden "
        getan = f"{time.de} {verb.de_forms[2]} {werden}{auxiliary(tense, thing.person)}"
        helper = {"future": "将会", "must": "必须", "should": "应该", "can": "可以"}[tense]
        zh_done = f"{time.zh}{helper}{verb.zh}{thing.zh_as_object}"
    return spoken(f"{en} that {thing.en} {done}", f"{de}, dass {thing.case('nom')} {getan}", f"{zh}，{zh_done}")


@pattern()
def whether_passive(draw: Draw) -> Triple:
    en, de, zh = draw.pick(UNKNOWN)
    thing, verb, time = _happened(draw, negated=True)
    bei = verb.zh_passive == "被"
    asked = f"{thing.zh}{time.zh}有没有被{verb.zh}" if bei else f"{thing.zh}是不是{time.zh}{verb.zh}的"
    return spoken(
        f"{en} whether {thing.en} {be(thing.person, past=True)} {verb.forms[3]} {time.en}",
        f"{de}, ob {thing.case('nom')} {time.de} {verb.de_forms[2]} {auxiliary('wurde', thing.person)}",
        f"{zh}{asked}",
    )

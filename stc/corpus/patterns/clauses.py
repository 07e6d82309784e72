"""One clause: who does what, in every tense, affirmed and negated."""

from stc.corpus.clause import Clause, auxiliary, sentence
from stc.corpus.draw import Draw, Triple, pattern
from stc.corpus.phrases import Phrase


def said(clause: Clause) -> Triple:
    return sentence(clause.en()), sentence(clause.de()), clause.zh() + "。"


@pattern(weight=2)
def past(draw: Draw) -> Triple:
    return said(draw.clause("past", time=True, place=draw.chance(0.4)))


@pattern(weight=1.5)
def past_fronted(draw: Draw) -> Triple:
    clause = draw.clause("past", time=True, place=draw.chance(0.4))
    return sentence(clause.en_fronted()), sentence(clause.de_fronted()), clause.zh_fronted() + "。"


@pattern()
def past_negated(draw: Draw) -> Triple:
    return said(draw.clause("past", time=True, negated=True))


@pattern(weight=1.5)
def progressive(draw: Draw) -> Triple:
    return said(draw.clause("progressive", place=draw.chance(0.6)))


@pattern()
def perfect(draw: Draw) -> Triple:
    return said(draw.clause("perfect", plain=True))


@pattern()
def perfect_negated(draw: Draw) -> Triple:
    return said(draw.clause("perfect", negated=True))


@pattern(weight=1.5)
def future(draw: Draw) -> Triple:
    return said(draw.clause("future", time=True, place=draw.chance(0.4)))


@pattern(held_out=True)
def future_fronted(draw: Draw) -> Triple:
    clause = draw.clause("future", time=True)
    while clause.time is None or clause.time.en == "soon":  # 很快就 cannot stand before the subject
        clause = draw.clause("future", time=True)
    return sentence(clause.en_fronted()), sentence(clause.de_fronted()), clause.zh_fronted() + "。"


@pattern()
def future_negated(draw: Draw) -> Triple:
    return said(draw.clause("future", negated=True))


@pattern(weight=2)
def modal(draw: Draw) -> Triple:
    return said(draw.clause(draw.modal(), time=draw.chance(0.5), place=draw.chance(0.3)))


@pattern()
def modal_negated(draw: Draw) -> Triple:
    return said(draw.clause(draw.modal(), negated=True))


@pattern(weight=1.5)
def habit(draw: Draw) -> Triple:
    return said(draw.habit())


@pattern(weight=0.5)
def state(draw: Draw) -> Triple:
    return said(draw.clause("present", negated=draw.chance(0.4)))


@pattern()
def passive(draw: Draw) -> Triple:
    verb = draw.verb("past", "text system plan data")
    while verb.preposition or "{}" in verb.zh or verb.case != "acc":
        verb = draw.verb("past", "text system plan data")
    thing = draw.thing(verb.takes, plain=True)
    time = draw.time("past")
    was, wurde = ("were", "wurden") if thing.person == "3p" else ("was", "wurde")
    return (
        sentence(f"{thing.en} {was} {verb.forms[3]} {time.en}"),
        sentence(f"{thing.case('nom')} {wurde} {time.de} {verb.de_forms[2]}"),
        f"{thing.zh}{time.zh}被{verb.zh}了。",
    )


@pattern()
def showing(draw: Draw) -> Triple:
    subject, receiver, thing = draw.subject(), _receiver(draw), draw.thing("text chart device", plain=True)
    time = draw.time("past")
    has = auxiliary("haben", subject.person)
    return (
        sentence(f"{subject.en} showed {receiver.en} {thing.en} {time.en}"),
        sentence(f"{subject.case('nom')} {has} {receiver.case('dat')} {time.de} {thing.case('acc')} gezeigt"),
        f"{subject.zh}{time.zh}给{receiver.zh_as_object}看了{thing.zh_as_object}。",
    )


@pattern(held_out=True)
def sending(draw: Draw) -> Triple:
    subject, receiver, thing = draw.subject(), _receiver(draw), draw.thing("text chart", plain=True)
    time = draw.time("future")
    will = auxiliary("werden", subject.person)
    return (
        sentence(f"{subject.en} will send {receiver.en} {thing.en} {time.en}"),
        sentence(f"{subject.case('nom')} {will} {receiver.case('dat')} {time.de} {thing.case('acc')} schicken"),
        f"{subject.zh}{time.zh}会把{thing.zh_as_object}发给{receiver.zh_as_object}。",
    )


def _receiver(draw: Draw) -> Phrase:
    return draw.thing("person", plain=True)

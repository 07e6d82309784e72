"""Two clauses: reasons, conditions, reports, relative clauses."""

from stc.corpus import lexicon
from stc.corpus.clause import Clause, Tense, auxiliary, be, sentence
from stc.corpus.draw import Draw, Triple, pattern
from stc.corpus.german import relative_pronoun
from stc.corpus.phrases import PRONOUNS, Phrase, plural, singular


def _short(draw: Draw, tense: Tense = "past", *, negated: bool = False, words: int = 6) -> Clause:
    """A clause with a definite object, of at most ``words`` English words."""
    while True:
        clause = draw.clause(tense, plain=True, negated=negated)
        if len(clause.en().split()) <= words:
            return clause


_STATES = (
    ("the network was slow", "das Netzwerk langsam war", "网络很慢"),
    ("the weather was bad", "das Wetter schlecht war", "天气不好"),
    ("the train was late", "der Zug Verspätung hatte", "火车晚点了"),
    ("nobody had time", "niemand Zeit hatte", "谁都没有时间"),
    ("it was too late", "es zu spät war", "太晚了"),
    ("the room was too small", "der Raum zu klein war", "房间太小了"),
    ("the door was locked", "die Tür abgeschlossen war", "门锁着"),
    ("the results were unclear", "die Ergebnisse unklar waren", "结果不明确"),
    ("we had no money", "wir kein Geld hatten", "我们没有钱"),
    ("everyone was tired", "alle müde waren", "大家都累了"),
    ("the data was incomplete", "die Daten unvollständig waren", "数据不完整"),
    ("many people were ill", "viele Leute krank waren", "很多人生病了"),
)


@pattern(weight=2)
def because(draw: Draw) -> Triple:
    clause, (en, de, zh) = _short(draw, negated=draw.chance(0.6)), draw.pick(_STATES)
    return (
        sentence(f"{clause.en()} because {en}"),
        sentence(f"{clause.de()}, weil {de}"),
        f"因为{zh}，所以{clause.zh()}。",
    )


@pattern(held_out=True)
def although(draw: Draw) -> Triple:
    clause, (en, de, zh) = _short(draw), draw.pick(_STATES)
    return (
        sentence(f"although {en}, {clause.en()}"),
        sentence(f"obwohl {de}, {clause.de_inverted()}"),
        f"虽然{zh}，但是{clause.zh()}。",
    )


_CONDITIONS = (
    ("it rains tomorrow", "es morgen regnet", "明天下雨"),
    ("we have enough time", "wir genug Zeit haben", "我们有足够的时间"),
    ("the test fails", "der Test fehlschlägt", "测试失败"),
    ("nobody objects", "niemand widerspricht", "没有人反对"),
    ("the price falls", "der Preis sinkt", "价格下降"),
    ("everyone agrees", "alle zustimmen", "大家都同意"),
    ("the train is late", "der Zug Verspätung hat", "火车晚点"),
    ("the weather is good", "das Wetter gut ist", "天气好"),
    ("there is a problem", "es ein Problem gibt", "出现问题"),
    ("the customer pays", "der Kunde bezahlt", "客户付款"),
    ("the computer works again", "der Computer wieder funktioniert", "电脑恢复正常"),
)


@pattern(weight=1.5)
def if_then(draw: Draw) -> Triple:
    clause, (en, de, zh) = _short(draw, draw.pick(("future", "can", "must"))), draw.pick(_CONDITIONS)
    then = clause.subject.zh + "就" + clause.zh_predicate()
    return sentence(f"if {en}, {clause.en()}"), sentence(f"wenn {de}, {clause.de_inverted()}"), f"如果{zh}，{then}。"


@pattern(weight=0.8)
def then_if(draw: Draw) -> Triple:
    clause, (en, de, zh) = _short(draw, "future", negated=True), draw.pick(_CONDITIONS)
    then = clause.subject.zh + "就" + clause.zh_predicate()
    return sentence(f"{clause.en()} if {en}"), sentence(f"{clause.de()}, wenn {de}"), f"如果{zh}，{then}。"


_OPINIONS = (
    ("I think", "ich denke", "我认为"),
    ("I hope", "ich hoffe", "我希望"),
    ("we believe", "wir glauben", "我们相信"),
    ("everyone knows", "alle wissen", "大家都知道"),
    ("it is important", "es ist wichtig", "重要的是"),
    ("she said yesterday", "sie hat gestern gesagt", "她昨天说"),
    ("the director expects", "der Direktor erwartet", "主任预计"),
)


@pattern(weight=1.5)
def that(draw: Draw) -> Triple:
    en, de, zh = draw.pick(_OPINIONS)
    clause = _short(draw, draw.pick(("future", "must", "can")))
    return sentence(f"{en} that {clause.en()}"), sentence(f"{de}, dass {clause.de_final()}"), f"{zh}，{clause.zh()}。"


@pattern()
def whether(draw: Draw) -> Triple:
    en, de, zh = draw.pick(
        (("I do not know", "ich weiß nicht", "我不知道"), ("nobody knows", "niemand weiß", "没有人知道"),
         ("she is asking", "sie fragt", "她在问"), ("we want to know", "wir wollen wissen", "我们想知道"))
    )  # fmt: skip
    clause = _short(draw, "future")
    choice = clause.subject.zh + "会不会" + clause.zh_predicate().removeprefix("会")
    return sentence(f"{en} whether {clause.en()}"), sentence(f"{de}, ob {clause.de_final()}"), f"{zh}{choice}。"


@pattern(held_out=True)
def why_known(draw: Draw) -> Triple:
    en, de, zh = draw.pick((("nobody knows", "niemand weiß", "没有人知道"), ("I know", "ich weiß", "我知道")))
    clause = _short(draw)
    return (
        sentence(f"{en} why {clause.en()}"),
        sentence(f"{de}, warum {clause.de_final()}"),
        f"{zh}{clause.subject.zh}为什么{clause.zh_predicate()}。",
    )


def _relative(draw: Draw) -> tuple[Phrase, str, str, str]:
    """A thing, and the clause about it in the three languages; Chinese before the noun."""
    verb = draw.verb("past", "text idea system plan")
    while verb.preposition or "{}" in verb.zh or verb.case != "acc" or "person" in verb.takes.split():
        verb = draw.verb("past", "text idea system plan")
    noun = draw.noun(verb.takes)
    many = draw.chance(0.35)
    head = plural("the", noun) if many else singular("the", noun)
    clause = Clause(draw.subject(), verb, None, "past", time=draw.time("past") if draw.chance(0.7) else None)
    key = "p" if many else noun.gender
    zh = clause.zh(aspect=False) + "的" + ("那些" if many else "那" + noun.classifier) + noun.zh
    return head, clause.en(), f"{relative_pronoun(key, 'acc')} {clause.de_final()}", zh


@pattern(weight=2)
def relative_subject(draw: Draw) -> Triple:
    head, en, de, zh = _relative(draw)
    word, wort, ci = draw.pick(
        (("interesting", "interessant", "有意思"), ("important", "wichtig", "重要"), ("good", "gut", "好"),
         ("useful", "nützlich", "有用"), ("complicated", "kompliziert", "复杂"))
    )  # fmt: skip
    is_ = auxiliary("sein", head.person)
    return (
        sentence(f"{head.en} {en} {be(head.person)} very {word}"),
        sentence(f"{head.case('nom')}, {de}, {is_} sehr {wort}"),
        f"{zh}非常{ci}。",
    )


@pattern(held_out=True)
def relative_object(draw: Draw) -> Triple:
    head, en, de, zh = _relative(draw)
    subject = PRONOUNS[draw.pick(("I", "we", "they"))]
    knows, kennt = {"I": "kenne"}.get(subject.en, "kennen"), subject.case("nom")
    return (
        sentence(f"{subject.en} know {head.en} {en}"),
        sentence(f"{kennt} {knows} {head.case('acc')}, {de}"),
        f"{subject.zh}知道{zh}。",
    )


@pattern()
def person_who(draw: Draw) -> Triple:
    noun = draw.noun("person")
    clause = draw.clause("past", subject=singular("the", noun), plain=True)
    city, stadt, shi = draw.pick(lexicon.CITIES)
    pronoun = relative_pronoun(noun.gender, "nom")
    middle = clause.de_final().removeprefix(clause.subject.case("nom"))
    done = clause.zh_predicate()
    return (
        sentence(f"the {noun.en} who {clause.en().removeprefix(clause.subject.en + ' ')} comes from {city}"),
        sentence(f"{clause.subject.case('nom')}, {pronoun}{middle}, kommt aus {stadt}"),
        f"{done.replace('了', '', 1)}的那{noun.classifier}{noun.zh}来自{shi}。",
    )


@pattern(weight=1.5)
def while_doing(draw: Draw) -> Triple:
    first, second = _short(draw, "progressive"), _short(draw, "progressive")
    return (
        sentence(f"while {first.en()}, {second.en()}"),
        sentence(f"während {first.de_final()}, {second.de_inverted()}".replace(" gerade", "", 1)),
        f"{first.zh()}的时候，{second.zh()}。",
    )


@pattern(weight=1.5)
def but(draw: Draw) -> Triple:
    first, second = _short(draw), _short(draw, "perfect", negated=True, words=7)
    return (
        sentence(f"{first.en()}, but {second.en()}"),
        sentence(f"{first.de()}, aber {second.de()}"),
        f"{first.zh()}，但是{second.zh()}。",
    )

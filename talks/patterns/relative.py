"""Nouns that a clause tells more about."""

from dataclasses import replace

from talks import german, lexicon
from talks.clause import Clause, Tense, auxiliary, be, spoken
from talks.draw import LASTING_VERBS, Draw, Triple, pattern, same_thing
from talks.german import relative_pronoun
from talks.lexicon import Noun
from talks.phrases import PRONOUNS, Phrase, plural, singular


def _relative(draw: Draw, *, subject: Phrase | None = None, tags: str = "") -> tuple[Phrase, str, str, str]:
    """A thing, with one of ``tags`` if there are any, and the clause about it in the three languages; Chinese before
    the noun."""
    while True:
        verb, taken = draw.transitive()
        noun = draw.noun(taken)
        if not tags or any(noun.has(tag) for tag in tags.split()):
            break
    many = draw.chance(0.35)
    head = plural("the", noun) if many else singular("the", noun)
    time = draw.time("past") if draw.chance(0.7) and verb.forms[0] not in LASTING_VERBS else None
    clause = Clause(subject or draw.subject(), verb, None, "past", time=time)
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
    return spoken(
        f"{head.en} {en} {be(head.person)} very {word}",
        f"{head.case('nom')}, {de}, {is_} sehr {wort}",
        f"{zh}非常{ci}",
    )


@pattern(held_out=True)
def relative_object(draw: Draw) -> Triple:
    # by someone else than who needs it, for a pronoun said twice is clumsy in Chinese
    someone = draw.pick((PRONOUNS["he"], PRONOUNS["she"], draw.person()))
    verb = draw.pick([verb for verb in lexicon.VERBS if verb.forms[0] in ("need", "understand")])
    head, en, de, zh = _relative(draw, subject=someone, tags=verb.takes)
    clause = Clause(PRONOUNS[draw.pick(("I", "we", "they"))], verb, head, "present")
    return spoken(f"{clause.en()} {en}", f"{clause.de()}, {de}", f"{clause.subject.zh}{verb.zh}{zh}")


def _person_who(draw: Draw) -> tuple[Noun, str, str, str]:
    """A person and what he did: English with "who", German from the relative pronoun on, Chinese before 的."""
    noun = draw.noun("person")
    clause = draw.clause("past", subject=singular("the", noun), plain=True)
    while "的" in clause.verb.zh:  # two of them would follow each other
        clause = draw.clause("past", subject=singular("the", noun), plain=True)
    en = f"the {noun.en} who {clause.en_predicate()}"
    de = f"{relative_pronoun(noun.gender, 'nom')} {clause.de_final(subject=False)}"
    return noun, en, de, f"{clause.zh_predicate(aspect=False)}的那{noun.classifier}{noun.zh}"


@pattern()
def person_who(draw: Draw) -> Triple:
    noun, en, de, zh = _person_who(draw)
    city, stadt, shi = draw.pick(lexicon.CITIES)
    return spoken(f"{en} comes from {city}", f"der {noun.de}, {de}, kommt aus {stadt}", f"{zh}来自{shi}")


@pattern(held_out=True)
def person_who_object(draw: Draw) -> Triple:
    noun, en, de, zh = _person_who(draw)
    verbs = [verb for verb in lexicon.VERBS if verb.forms[0] in ("invite", "meet", "thank")]
    clause = Clause(draw.subject(), draw.pick(verbs), singular("the", noun), "future")
    said = replace(clause, object=Phrase("", ("", "", "", ""), zh))
    return spoken(f"{clause.en().removesuffix(f'the {noun.en}')}{en}", f"{clause.de()}, {de}", said.zh())


@pattern()
def person_whom(draw: Draw) -> Triple:
    """The case of the German pronoun is that of the verb: den ich einlade, dem ich helfe."""
    noun, subject = draw.noun("person"), PRONOUNS[draw.pick(("I", "we", "he", "she", "they"))]
    verbs = [verb for verb in lexicon.VERBS if verb.takes == "person" and verb.zh.isalpha() and not verb.stative]
    verb, adjective = draw.pick([verb for verb in verbs if not verb.preposition]), draw.adjective(noun)
    clause = Clause(subject, verb, None, "past", time=draw.time("past"))
    middle = clause.en().replace(f" {clause.time.en}", "") if clause.time else clause.en()
    return spoken(
        f"the {noun.en} whom {middle} {clause.time.en if clause.time else ''} is very {adjective.en}",
        f"der {noun.de}, {relative_pronoun(noun.gender, verb.case)} {clause.de_final()}, ist sehr {adjective.de}",
        f"{clause.zh(aspect=False)}的那{noun.classifier}{noun.zh}非常{adjective.zh_predicate}",
    )


_ROOMS = (
    ("room", "der Raum, in dem", "房间"),
    ("building", "das Gebäude, in dem", "大楼"),
    ("city", "die Stadt, in der", "城市"),
    ("hotel", "das Hotel, in dem", "酒店"),
)


@pattern(weight=0.8)
def room_where(draw: Draw) -> Triple:
    room, raum, fang = draw.pick(_ROOMS)
    noun, whose = draw.noun("held"), draw.pick(("the", "our", "this"))
    thing = singular(whose, noun)
    word, wort, ci = draw.pick((("large", "groß", "大"), ("small", "klein", "小"), ("modern", "modern", "现代化")))
    return spoken(
        f"the {room} where {thing.en} takes place is very {word}",
        f"{raum} {thing.case('nom')} stattfindet, ist sehr {wort}",
        f"{f'我们举行{noun.zh}' if whose == 'our' else f'举行{thing.zh}'}的{fang}非常{ci}",
    )


def _someone(draw: Draw) -> Phrase:
    """Who did something to a thing that "I", "we" or "they" speak of."""
    return draw.pick((PRONOUNS["he"], PRONOUNS["she"], draw.person()))


# Not done later to what someone has had in hand.
_MAKING = ("write", "design", "develop", "build", "find", "look", "plan", "receive")


@pattern(weight=1.5)
def relative_done(draw: Draw) -> Triple:
    """The thing of a relative clause is what something else was, will or must be done to."""
    tense: Tense = draw.pick(("past", "past", "future", "can", "must", "should"))
    while True:
        verb, tags = draw.transitive()
        head, en, de, zh = _relative(draw, subject=_someone(draw), tags=tags)
        if verb.forms[2] not in en.split() and not (tense != "past" and verb.forms[0] in _MAKING):
            break
    clause = Clause(PRONOUNS[draw.pick(("I", "we", "they"))], verb, head, tense)
    said = replace(clause, object=Phrase("", ("", "", "", ""), zh))
    return spoken(f"{clause.en()} {en}", f"{clause.de()}, {de}", said.zh())


@pattern()
def this_is_the(draw: Draw) -> Triple:
    head, en, de, zh = _relative(draw)
    if head.person == "3p":
        this, das, zhe, what = "these are", "das sind", "这些就是", zh.replace("的那些", "的")
    else:
        this, das, zhe, what = "this is", "das ist", "这就是", zh
    return spoken(f"{this} {head.en} {en}", f"{das} {head.case('nom')}, {de}", f"{zhe}{what}")


@pattern(weight=0.8)
def where_is_the(draw: Draw) -> Triple:
    head, en, de, zh = _relative(
        draw, subject=draw.pick((PRONOUNS["you"], draw.subject())), tags="mail chart device book"
    )
    return spoken(
        f"where {be(head.person)} {head.en} {en}",
        f"wo {auxiliary('sein', head.person)} {head.case('nom')}, {de}",
        f"{zh}在哪里",
        "?",
    )


@pattern(weight=1.2)
def know_person_who(draw: Draw) -> Triple:
    noun, en, de, zh = _person_who(draw)
    den = german.noun(noun.de, noun.de_plural, noun.gender, "acc", weak=noun.weak, many=False)
    known, kennt, zh_known, end = draw.pick(
        (("I know", f"ich kenne den {den}", "我认识{}", "."), ("we know", f"wir kennen den {den}", "我们认识{}", "."),
         ("do you know", f"kennen Sie den {den}", "您认识{}吗", "?"),
         ("he is", f"er ist der {noun.de}", "他就是{}", "."),
         ("this is", f"das ist der {noun.de}", "这就是{}", "."),
         ("where is", f"wo ist der {noun.de}", "{}在哪里", "?"))
    )  # fmt: skip
    return spoken(f"{known} {en}", f"{kennt}, {de}", zh_known.format(zh), end)


@pattern()
def helped_person_who(draw: Draw) -> Triple:
    """What was, can or must be done with the one who did something."""
    noun, en, de, zh = _person_who(draw)
    verbs = [verb for verb in lexicon.VERBS if verb.takes == "person" and not verb.stative and "的" not in verb.zh]
    tense: Tense = draw.pick(("past", "can", "must", "should", "want"))
    verb = draw.pick(verbs)
    while verb.forms[2] in en.split():
        verb = draw.pick(verbs)
    clause = Clause(draw.subject(), verb, singular("the", noun), tense)
    while same_thing(clause.subject, singular("the", noun)):
        clause = replace(clause, subject=draw.subject())
    said = replace(clause, object=Phrase("", ("", "", "", ""), zh))
    return spoken(f"{clause.en().removesuffix(f'the {noun.en}')}{en}", f"{clause.de()}, {de}", said.zh())


@pattern()
def person_who_will(draw: Draw) -> Triple:
    """Someone by what he will, must or wants to do; what he is like or whether he is there."""
    noun, (adjective, time) = draw.noun("person"), (draw.pick(lexicon.MOODS), draw.time("future", vague=False))
    tense: Tense = draw.pick(("future", "must", "want", "should", "can"))
    clause = draw.clause(tense, subject=singular("the", noun), plain=True)
    while "的" in clause.verb.zh:
        clause = draw.clause(tense, subject=singular("the", noun), plain=True)
    clause = replace(clause, time=time)
    head, kopf = f"the {noun.en} who {clause.en_predicate()}", f"der {noun.de}, der {clause.de_final(subject=False)},"
    zh = f"{clause.zh_predicate()}的那{noun.classifier}{noun.zh}"
    if draw.chance(0.3):
        return spoken(f"is {head} here", f"ist {kopf} hier", f"{zh}在这里吗", "?")
    return spoken(
        f"{head} is very {adjective.en}", f"{kopf} ist sehr {adjective.de}", f"{zh}非常{adjective.zh_predicate}"
    )


@pattern(weight=0.7)
def was_person_there(draw: Draw) -> Triple:
    noun, en, de, zh = _person_who(draw)
    return spoken(f"was {en} there", f"war der {noun.de}, {de}, da", f"{zh}当时在场吗", "?")

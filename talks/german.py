"""German morphology as far as the grammar needs it: determiners, adjective endings, noun cases.

Genders are ``m``, ``f`` and ``n``; cases are ``nom``, ``acc``, ``dat`` and ``gen``. The plural has no gender,
so tables key it as ``p``.
"""

from __future__ import annotations

from typing import Literal

Case = Literal["nom", "acc", "dat", "gen"]
Gender = Literal["m", "f", "n"]

_CASES: tuple[Case, ...] = ("nom", "acc", "dat", "gen")

# Endings in the order of _CASES.
_DEFINITE = {"m": "der den dem des", "f": "die die der der", "n": "das das dem des", "p": "die die den der"}
_DIESER = {"m": "er en em es", "f": "e e er er", "n": "es es em es", "p": "e e en er"}
_EIN = {"m": "- en em es", "f": "e e er er", "n": "- - em es", "p": "e e en er"}
_WEAK = {"m": "e en en en", "f": "e e en en", "n": "e e en en", "p": "en en en en"}
_MIXED = {"m": "er en en en", "f": "e e en en", "n": "es es en en", "p": "en en en en"}
_STRONG = {"m": "er en em en", "f": "e e er er", "n": "es es em en", "p": "e e en er"}
RELATIVE = {"m": "der den dem dessen", "f": "die die der deren", "n": "das das dem dessen", "p": "die die denen deren"}

# Stem of a determiner → (its endings, the endings of an adjective after it).
_STEMS = {
    "dies": (_DIESER, _WEAK),
    "jed": (_DIESER, _WEAK),
    "beid": (_DIESER, _WEAK),
    "welch": (_DIESER, _WEAK),
    "all": (_DIESER, _WEAK),
    "ein": (_EIN, _MIXED),
    "kein": (_EIN, _MIXED),
    "mein": (_EIN, _MIXED),
    "unser": (_EIN, _MIXED),
    "ihr": (_EIN, _MIXED),
    "sein": (_EIN, _MIXED),
    "Ihr": (_EIN, _MIXED),
}


def _ending(table: dict[str, str], key: str, case: Case) -> str:
    ending = table[key].split()[_CASES.index(case)]
    return "" if ending == "-" else ending


def relative_pronoun(key: str, case: Case) -> str:
    return _ending(RELATIVE, key, case)


def determiner(stem: str, key: str, case: Case) -> str:
    """``stem`` is ``der``, a stem of the tables above, or an indeclinable word such as ``drei``, or empty."""
    if stem == "der":
        return _ending(_DEFINITE, key, case)
    if stem in _STEMS:
        return stem + _ending(_STEMS[stem][0], key, case)
    return stem


def adjective(stem: str, after: str, key: str, case: Case) -> str:
    """The adjective as it stands after the determiner ``after`` (see :func:`determiner`)."""
    if after == "der":
        table = _WEAK
    elif after in _STEMS:
        table = _STEMS[after][1]
    else:
        table = _STRONG
    if stem == "hoch":
        stem = "hoh"
    elif stem.endswith("el") or stem.endswith("euer"):  # flexibel → flexible, teuer → teure
        stem = stem[:-2] + stem[-1]
    return stem + _ending(table, key, case)


def comparative(stem: str) -> str:
    if stem in _IRREGULAR:
        return _IRREGULAR[stem][0]
    if stem.endswith("el") or stem.endswith("euer"):
        return stem[:-2] + stem[-1] + "er"
    return (stem[:-1] if stem.endswith("e") else stem) + "er"


def superlative(stem: str) -> str:
    """Without its ending: ``schnellst``, ``leichtest``."""
    if stem in _IRREGULAR:
        return _IRREGULAR[stem][1]
    if stem.endswith(("isch", "end")):  # unstressed: praktischst, dringendst
        return stem + "st"
    return stem + ("est" if stem.endswith(("t", "d", "s", "z", "x", "ß", "sch", "eu", "au")) else "st")


_IRREGULAR = {
    "gut": ("besser", "best"),
    "hoch": ("höher", "höchst"),
    "groß": ("größer", "größt"),
    "lang": ("länger", "längst"),
    "kurz": ("kürzer", "kürzest"),
    "stark": ("stärker", "stärkst"),
    "alt": ("älter", "ältest"),
    "jung": ("jünger", "jüngst"),
    "klug": ("klüger", "klügst"),
}


def noun(lemma: str, plural: str, gender: Gender, case: Case, *, weak: bool, many: bool) -> str:
    """A noun in its case. ``weak`` nouns (der Student, den Studenten) take their plural form outside the nominative."""
    if many:
        return plural + "n" if case == "dat" and not plural.endswith(("n", "s")) else plural
    if weak and case != "nom":
        return plural
    if case == "gen" and gender != "f":
        return lemma + ("es" if lemma.endswith(("s", "ß", "x", "z")) else "s")
    return lemma


_CONTRACTED = {"zu dem": "zum", "zu der": "zur", "von dem": "vom", "an dem": "am"}


def prepositional(preposition: str, phrase: str) -> str:
    """``zu`` and ``dem Bericht`` make ``zum Bericht``."""
    article, _, rest = phrase.partition(" ")
    contracted = _CONTRACTED.get(f"{preposition} {article}")
    return f"{contracted} {rest}" if contracted and rest else f"{preposition} {phrase}"


_UNITS = ("null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf")
_TENS = ("-", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")


def cardinal(number: int) -> str:
    """2 to 99 in words, as they stand before a noun in the plural.

    ``ein`` alone would need an ending, so 1 is not in the range.
    """
    if not 2 <= number <= 99:
        raise ValueError(f"{number} is not in 2..99")
    if number <= 12:
        return _UNITS[number]
    if number < 20:
        return {16: "sech", 17: "sieb"}.get(number, _UNITS[number - 10]) + "zehn"
    tens, unit = divmod(number, 10)
    return _TENS[tens] if unit == 0 else f"{_UNITS[unit]}und{_TENS[tens]}"


def ordinal(number: int) -> str:
    """1 to 31 as the stem that takes adjective endings: ``dritt``, ``zwanzigst``."""
    special = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
    if number in special:
        return special[number]
    return cardinal(number) + ("t" if number < 20 else "st")

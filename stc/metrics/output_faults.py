"""Count what a model says instead of a translation: preambles, the source language, loops, nothing.

A fault that the reference has too is none: somebody may quote a sentence, or say a word again and again.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from stc.decoding.output_patterns import loop, without_lead_in, without_quotes
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.system.language_identification import identify_between
from stc.system.language_tags import primary_language

SURE = 0.95
"""The probability from which on py3langid is believed. Of 1,314 German sentences of the shipped corpus none is English
with it, and of their English sources 99 % are."""
FEWEST_LETTERS = 12  # of a text that is judged by its script: a name may be written as in the source
FAULTS = {
    "empty": "are empty",
    "preambles": "begin with a preamble",
    "quoted": "are in quotation marks",
    "source_language": "are in the source language",
    "loops": "loop",
    "cut_off": "are cut off",
}
"""The faults, and what a note says of translations that have one."""


def output_faults(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], task: Task, cut_off: int
) -> dict[str, int]:
    """Return how many translations have each fault.

    - ``empty``: there is no text.
    - ``preambles``: it begins with a lead-in (:func:`stc.decoding.output_patterns.without_lead_in`).
    - ``quoted``: what is left is all in quotation marks.
    - ``source_language``: without both, it is the source text, apart from case and punctuation; or, where the two
      languages have different scripts, more than half of its letters, of which there are at least 12, are in the
      source's; else py3langid gives the source language a probability of 0.95. A pair that it does not know is judged
      by the first rule.
    - ``loops``: a phrase follows itself at least three times (:func:`stc.decoding.output_patterns.loop`).
    - ``cut_off``: it reached the most tokens of a translation. No text shows that, so their number is given.

    A text may have several.
    """
    is_untranslated = _untranslated(references, sources, task)
    counts = {**dict.fromkeys(FAULTS, 0), "cut_off": cut_off}
    for text, reference, source in zip(hypotheses, references, sources, strict=True):
        rest, expected = without_lead_in(text), without_lead_in(reference)
        counts["empty"] += not text
        counts["preambles"] += rest != text and expected == reference
        answer = without_quotes(rest)
        counts["quoted"] += answer != rest and without_quotes(expected) == expected
        counts["source_language"] += is_untranslated(answer, reference, source)
        counts["loops"] += loop(text) is not None and loop(reference) is None
    return counts


def _untranslated(references: Sequence[str], sources: Sequence[str], task: Task) -> Callable[[str, str, str], bool]:
    """Return a function that says of a translation, its reference and its source whether it is not translated."""
    in_source_language = _source_language_test(references, sources, task)

    def test(text: str, reference: str, source: str) -> bool:
        if _letters(text) == _letters(source):
            return _letters(text) not in ("", _letters(reference))
        return in_source_language(text) and not in_source_language(reference)

    return test


def _source_language_test(references: Sequence[str], sources: Sequence[str], task: Task) -> Callable[[str], bool]:
    ours, theirs = (_scripts(" ".join(texts)).most_common(1) for texts in (sources, references))
    if ours and theirs and ours[0][0] != theirs[0][0]:
        of_source = ours[0][0]

        def by_script(text: str) -> bool:
            found = _scripts(text)
            return found.total() >= FEWEST_LETTERS and found[of_source] > found.total() / 2

        return by_script
    try:
        if primary_language(task.source_lang) == primary_language(task.target_lang):
            return lambda text: False
        identify = identify_between(task.source_lang, task.target_lang)
    except InputError:
        return lambda text: False
    return lambda text: (found := identify(text))[0] and found[1] >= SURE


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _scripts(text: str) -> Counter[str]:
    """Return how many letters of a text are of each script."""
    return Counter(_script(letter) for letter in text if letter.isalpha())


@cache
def _script(letter: str) -> str:
    """Return the first word of a letter's name, which is its script; Japanese is written in three, so they are one."""
    name = unicodedata.name(letter, "").split(" ", 1)[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA") else name

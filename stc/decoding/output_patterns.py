"""Finds what a model says around or instead of a translation: a lead-in, quotation marks, a phrase again and again.

Each is recognized in one text by itself. :mod:`stc.metrics.output_faults` counts them, where the reference has none,
and :class:`stc.decoding.options.OutputRules` removes them if that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stc.system.language_tags import HAN

LOOP_TIMES = 4
"""The number of times that a phrase follows itself in what counts as a loop, if nothing else is asked for."""
_LOOP_LETTERS = 8  # of all copies together: 谢谢，谢谢 is no loop, but a character four times
_LOOP_CHARACTERS = 20  # of copies inside a word or of punctuation: Hmmmm and 100,000,000 are no loops

_UNSPACED = (
    f"{HAN}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"  # Thai to Khmer, and kana: no space between words
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")

_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“”", "‚": "‘’", "‘": "’", "«": "»", "»": "«", "「": "」", "『": "』"}
_OPENING = "[" + "".join(_QUOTES) + "]"
_CLOSED = re.compile(rf"({_OPENING})(.+)([{''.join(_QUOTES.values())}])[.。]?")

_SURE = r"(?:(?:sure|certainly|of course|okay|ok|natürlich|gerne?|当然|好的|もちろん)[\s,.!，。！]*)?"
_ABOUT_TRANSLATING = "|".join(
    (
        "translat|übersetz|翻译|翻譯|译文|譯文|译为|译成|翻訳|번역|tradu[cizç]|перев[оеё]|tłumacz|ترجم|अनुवाद",
        r"\bhere(?:'s| is) (?:the|your) (?:german|chinese|english|text|sentence)\b",
        r"\b(?:content|text|transcri\w+) of (?:the|this) (?:audio|speech|recording)|\btranscri(?:pt|ption)\b",
        r"\b(?:the|this) (?:audio|speech|speaker|person|recording|voice) (?:says|said|is saying)\b",
        r"^(?:german|deutsch|chinese|mandarin|english|中文|汉语|英文|英语)$",
    )
)
_LEAD_IN = re.compile(
    rf"{_SURE}([^.!?。！？:：]{{1,160}})[:：](?!\d)\s*|{_SURE}([^.!?。！？:：\"“„«「『]{{1,80}}?)\s(?=[\"“„«「『])",
    re.I,
)
_SAYS_SO = re.compile(_ABOUT_TRANSLATING, re.I)


def without_lead_in(text: str) -> str:
    """Return a text without what leads in to it, such as ``Here is the translation:`` or ``翻译如下：``.

    A lead-in is a beginning without the end of a sentence in it, except after a word such as ``Sure!``, that speaks of
    a translation, a transcript or what a recording says, or names a language. It ends in a colon, or before a quotation
    mark.
    """
    found = _LEAD_IN.match(text)
    return text[found.end() :] if found and _SAYS_SO.search((found[1] or found[2]).strip()) else text


def without_quotes(text: str) -> str:
    """Return a text without the quotation marks that enclose all of it."""
    found = _CLOSED.fullmatch(text)
    if found and found[3] in _QUOTES[found[1]] and not re.search(f"[{found[1]}{found[3]}]", found[2]):
        return found[2]
    return text


def loop(text: str, times: int = LOOP_TIMES) -> int | None:
    """Return where the first copy of a phrase ends that is said at least ``times`` in a row; None if none is.

    A phrase is some words, or characters of scripts without spaces between words. Case, and punctuation between words,
    are ignored. All copies together have at least 8 letters. So many copies of a few characters are a loop inside a
    word, or of punctuation, too, if they have at least 20 characters together. A phrase that changes from copy to copy,
    as in counting, is not found.
    """
    return min((end for found in (_repeated_words, _repeated_characters) for end in found(text, times)), default=None)


def _repeated_words(text: str, times: int) -> Iterator[int]:
    found = list(_WORD.finditer(text))
    words = [one[0].casefold() for one in found]
    for start in range(len(words)):
        for length in range(1, (len(words) - start) // times + 1):
            phrase = words[start : start + length]
            if (
                words[start + length] == phrase[0]
                and words[start : start + times * length] == phrase * times
                and times * sum(map(len, phrase)) >= _LOOP_LETTERS
            ):
                yield _with_punctuation(text, found[start + length - 1].end())
                return


def _repeated_characters(text: str, times: int) -> Iterator[int]:
    for found in re.finditer(rf"(.{{1,40}}?)\1{{{times - 1},}}", text):
        if len(found[0]) >= _LOOP_CHARACTERS:
            yield found.end(1)
            return


def _with_punctuation(text: str, end: int) -> int:
    """Return where the punctuation ends that directly follows a word."""
    following = re.compile(r"[^\w\s]*").match(text, end)
    return following.end() if following else end

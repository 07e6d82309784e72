"""Filters for a teacher's translations.

A bad translation stops early or never, repeats itself, is in another language, or says something else. Each case has a
filter, as in the cleaning of parallel corpora (Moses, Koehn et al. 2007; OpusCleaner, Bogoychev et al. 2023). All are
off by default: the publication drops nothing but duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stc.data.manifest import Utterance
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.system.language_identification import identify_between
from stc.system.language_tags import HAN, HAN_SCRIPTS, LanguageTag, nearest_entry, script

HAN_SHARE = 0.5  # of the letters of a Chinese text, at least: names and abbreviations may be Latin

_TOKEN = re.compile(rf"[{HAN}]|[^\W{HAN}]+")  # a word, or one Chinese character

Filter = Callable[[Utterance, str], bool]
"""Takes an utterance and the teacher's translation, and returns whether to keep it."""


def _ordered(range_: tuple[float, float]) -> tuple[float, float]:
    low, high = range_
    if not 0 < low < high <= 100:
        raise ValueError("must be a range [low, high] with 0 < low < high ≤ 100")
    return range_


class Filters(BaseModel):
    """Requirements for a translation. None or false means no requirement.

    Attributes:
        length_ratio: for each language, the range of characters of the translation per character of the source.
        repetition: the largest share of repeated bigrams, of words or Chinese characters, in [0, 1).
        language: whether it must be in the target language and not in the source's. Chinese is recognized by its
            characters, other languages by py3langid, which decides between the two. A text without letters passes.
        chrf: the least chrF to the original target, in (0, 100].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_ratio: Mapping[LanguageTag, Annotated[tuple[float, float], AfterValidator(_ordered)]] | None = None
    repetition: float | None = Field(default=None, ge=0, lt=1)
    language: bool = False
    chrf: float | None = Field(default=None, gt=0, le=100)

    def active(self, task: Task) -> dict[str, Filter]:
        """Return the filters that are on, by name, in the order in which they are applied.

        Raises:
            InputError: ``length_ratio`` has no range for the target language.
        """
        found: dict[str, Filter] = {}
        if self.length_ratio is not None:
            low, high = self.length_range(task.target_lang)
            found["length_ratio"] = lambda row, text: low <= len(text) / max(len(row.source), 1) <= high
        if (most := self.repetition) is not None:
            found["repetition"] = lambda row, text: repetition(text) <= most
        if self.language:
            found["language"] = _in_target_language(task)
        if (least := self.chrf) is not None:
            from stc.metrics.metric import score

            found["score"] = lambda row, text: score("chrf", [text], [row.target], task.target_lang) >= least
        return found

    def length_range(self, lang: str) -> tuple[float, float]:
        """Return the range for a language, or for the nearest more general one.

        Raises:
            InputError: there is none.
        """
        ranges = self.length_ratio or {}
        if (found := nearest_entry(ranges, lang)) is None:
            raise InputError(
                f"distill.filters.length_ratio has ranges for {', '.join(ranges)}, and none for {lang}; "
                f"distill.filters.length_ratio.{lang}=[LOW,HIGH] gives one, "
                "distill.filters.length_ratio=null does without"
            )
        return found


def repetition(text: str) -> float:
    """Return the share of a text's bigrams, of words or Chinese characters, that occurred before; 0 if it has none."""
    tokens = _TOKEN.findall(text.casefold())
    bigrams = list(pairwise(tokens))
    return 1 - len(set(bigrams)) / len(bigrams) if bigrams else 0.0


def _in_target_language(task: Task) -> Filter:
    if script(task.target_lang) in HAN_SCRIPTS:
        return lambda row, text: han_share(text) >= HAN_SHARE
    try:
        identify = identify_between(task.target_lang, task.source_lang)
    except InputError as error:
        raise InputError(f"distill.filters.language: {error}; distill.filters.language=false does without") from None
    return lambda row, text: not any(map(str.isalpha, text)) or identify(text)[0]


def han_share(text: str) -> float:
    """Return the share of a text's letters that are Chinese characters; 1 if it has no letters."""
    letters = [character for character in text if character.isalpha()]
    return len(re.findall(f"[{HAN}]", text)) / len(letters) if letters else 1.0

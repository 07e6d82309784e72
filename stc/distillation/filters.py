"""Which of a teacher's translations are fit to learn from.

A teacher that has lost its way ends in one of a few manners: it stops early or never, repeats itself, answers in
another language, or says something else altogether. Each has a filter of its own, as in the cleaning of parallel
corpora (Moses, Koehn et al. 2007; OpusCleaner, Bogoychev et al. 2023), and each is off unless it is asked for: the
publication drops nothing but duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stc.data.manifest import Utterance
from stc.errors import InputError
from stc.models.task import Task
from stc.system.language_tags import HAN_SCRIPTS, LanguageTag, nearest_entry, script

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_NEAR = 5  # langcodes' distance, up to which two tags are one language to py3langid (nb and no are)
HAN_SHARE = 0.5  # of the letters of a Chinese text; names and abbreviations may be Latin

_TOKEN = re.compile(rf"[{HAN}]|[^\W{HAN}]+")  # a word, or one Chinese character

Filter = Callable[[Utterance, str], bool]
"""(the utterance, the teacher's translation of it) → whether the translation is kept."""


def _ordered(range_: tuple[float, float]) -> tuple[float, float]:
    low, high = range_
    if not 0 < low < high <= 100:
        raise ValueError("must be a range [low, high] with 0 < low < high ≤ 100")
    return range_


class Filters(BaseModel):
    """What a translation has to be; a field that is None or false asks nothing.

    Attributes:
        length_ratio: language → the range of characters of the translation per character of the source.
        repetition: the largest share of bigrams that are there a second time, in [0, 1), over words or Chinese
            characters.
        language: it is in the target language and not in the source's. A Chinese text is known by its characters,
            another by py3langid, which decides between the two languages; one without letters passes.
        chrf: the least chrF to the original target, in (0, 100].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_ratio: Mapping[LanguageTag, Annotated[tuple[float, float], AfterValidator(_ordered)]] | None = None
    repetition: float | None = Field(default=None, ge=0, lt=1)
    language: bool = False
    chrf: float | None = Field(default=None, gt=0, le=100)

    def active(self, task: Task) -> dict[str, Filter]:
        """The filters asked for, by name, in the order in which they are applied.

        Raises:
            InputError: ``length_ratio`` has no range for the target language.
        """
        found: dict[str, Filter] = {}
        if self.length_ratio is not None:
            found["length_ratio"] = _within(self.length_range(task.target_lang))
        if self.repetition is not None:
            found["repetition"] = _not_repeating(self.repetition)
        if self.language:
            found["language"] = _in_target_language(task)
        if self.chrf is not None:
            found["score"] = _close_to_target(self.chrf, task)
        return found

    def length_range(self, lang: str) -> tuple[float, float]:
        """Return the range for a language, or for the nearest wider one.

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


def _within(range_: tuple[float, float]) -> Filter:
    low, high = range_
    return lambda row, text: low <= len(text) / max(len(row.source), 1) <= high


def _not_repeating(most: float) -> Filter:
    return lambda row, text: repetition(text) <= most


def repetition(text: str) -> float:
    """The share of a text's bigrams, of words or Chinese characters, that were there before; 0 if it has none."""
    tokens = _TOKEN.findall(text.casefold())
    bigrams = list(pairwise(tokens))
    return 1 - len(set(bigrams)) / len(bigrams) if bigrams else 0.0


def _in_target_language(task: Task) -> Filter:
    if script(task.target_lang) in HAN_SCRIPTS:
        return lambda row, text: han_share(text) >= HAN_SHARE
    from langcodes import closest_supported_match
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    labels = list(identifier.labels)
    source, target = (
        closest_supported_match(tag, labels, max_distance=_NEAR) for tag in (task.source_lang, task.target_lang)
    )
    if source is None or target is None:
        unknown = task.source_lang if source is None else task.target_lang
        raise InputError(
            f"distill.filters.language: py3langid does not know {unknown}; distill.filters.language=false does without"
        )
    # Between two languages a short sentence is decided well, which among a hundred it is not.
    identifier.set_languages([source, target])
    return lambda row, text: not _has_letters(text) or identifier.classify(text)[0] == target


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def han_share(text: str) -> float:
    """The share of a text's letters that are Chinese characters; 1 if it has no letters."""
    letters = [sign for sign in text if sign.isalpha()]
    return len(re.findall(f"[{HAN}]", text)) / len(letters) if letters else 1.0


def _close_to_target(least: float, task: Task) -> Filter:
    from stc.metrics.metric import score

    return lambda row, text: score("chrf", [text], [row.target], task.target_lang) >= least

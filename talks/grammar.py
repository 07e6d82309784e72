"""Sentences of the corpus: drawn from the patterns, split into parts by their text.

A sentence belongs to one part for good, by a hash of its English words. So whatever seeds and sizes are asked for,
no sentence of ``dev`` is ever in ``base``. Held-out patterns are drawn for ``test`` only.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

from talks import patterns  # noqa: F401 - registers the patterns
from talks.draw import PATTERNS, Draw, Pattern

Part = Literal["base", "train", "dev", "selection", "test"]
PARTS: tuple[Part, ...] = get_args(Part)

# Of 100 buckets; everything a base model may be trained on is in the first.
_SHARES: dict[Part, int] = {"base": 74, "train": 10, "dev": 4, "selection": 4, "test": 8}
WORDS = (4, 16)  # English words in a sentence, inclusive
HELD_OUT_SHARE = 1 / 3  # of the test sentences


@dataclass(frozen=True)
class Sentence:
    en: str
    de: str
    zh: str
    pattern: str

    def target(self, lang: str) -> str:
        return {"de": self.de, "zh": self.zh}[lang]


def words_of(english: str) -> str:
    """Return the words of a sentence, whatever their case and punctuation: what makes two sentences the same."""
    return " ".join("".join(c if c.isalnum() or c.isspace() else " " for c in english.casefold()).split())


def part_of(english: str) -> Part:
    """The part a sentence is in: by its words alone."""
    bucket = int.from_bytes(hashlib.sha256(words_of(english).encode()).digest()[:4], "big") % 100
    for part, share in _SHARES.items():
        bucket -= share
        if bucket < 0:
            return part
    raise AssertionError("the shares add up to 100")


def sentences(seed: int, part: Part) -> Iterator[Sentence]:
    """Distinct sentences of a part, without end; the same for the same seed."""
    rng = random.Random(f"{part}-{seed}")
    draw = Draw(rng)
    seen_patterns = [pattern for pattern in PATTERNS.values() if not pattern.held_out]
    held_out = [pattern for pattern in PATTERNS.values() if pattern.held_out]
    done: set[str] = set()
    while True:
        # Chosen before the text is drawn and kept until one fits, so that rejection does not shift the mix.
        group = held_out if part == "test" and rng.random() < HELD_OUT_SHARE else seen_patterns
        chosen = _weighted(rng, group)
        for _ in range(1000):
            en, de, zh = chosen.make(draw)
            if en not in done and WORDS[0] <= len(en.split()) <= WORDS[1] and part_of(en) == part:
                done.add(en)
                yield Sentence(en, de, zh, chosen.name)
                break


def _weighted(rng: random.Random, group: list[Pattern]) -> Pattern:
    at = rng.random() * sum(pattern.weight for pattern in group)
    for pattern in group:
        at -= pattern.weight
        if at < 0:
            return pattern
    return group[-1]


def generate(seed: int, n: int, *, part: Part) -> list[Sentence]:
    """The first ``n`` of :func:`sentences`."""
    return list(islice(sentences(seed, part), n))

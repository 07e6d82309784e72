"""How much of the reference system's quality a system keeps, and how certain that is.

Paired bootstrap resampling (Koehn, 2004, "Statistical Significance Tests for Machine Translation Evaluation"):
sentences are drawn with replacement, the same ones for both systems, and the ratio of the two corpus scores is
taken every time. The interval is the percentile interval of those ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stc.errors import InputError
from stc.metrics.text import from_statistics

_BLOCK = 256  # resamples drawn together: bounds the memory at _BLOCK × sentences


@dataclass(frozen=True)
class Retention:
    """Score of a system divided by the score of the reference system.

    Attributes:
        value: the ratio on the whole corpus; None where the reference system scores zero.
        interval: its confidence interval (low, high); None where the reference system scores zero on any of the
            resamples, which happens with very few sentences or a very bad reference system.
    """

    value: float | None
    interval: tuple[float, float] | None


def retention(
    metric: str,
    system: Sequence[Sequence[int]],
    reference_system: Sequence[Sequence[int]],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Retention:
    """Retention and its paired-bootstrap percentile interval.

    Args:
        metric: whose sentence-level statistics the two arrays are.
        system: (sentences, counts) as :func:`stc.metrics.text.statistics` gives them.
        reference_system: the same of the system compared with, for the same sentences in the same order.
        resamples: how many corpora are drawn.
        confidence: of the interval, in (0, 1).
        seed: of the draw; equal seeds draw the same sentences whatever the system.

    Raises:
        InputError: when the two do not cover the same number of sentences.
    """
    ours, theirs = np.asarray(system, dtype=np.int64), np.asarray(reference_system, dtype=np.int64)
    if ours.shape != theirs.shape:
        raise InputError(f"{metric}: statistics of shape {ours.shape} cannot be paired with {theirs.shape}")
    [value] = _ratios(metric, ours.sum(axis=0, keepdims=True), theirs.sum(axis=0, keepdims=True))

    generator = np.random.default_rng(seed)
    sentences = len(ours)
    uniform = np.full(sentences, 1 / sentences)
    ratios: list[float | None] = []
    for start in range(0, resamples, _BLOCK):
        # How often each sentence is drawn: (block, sentences). A corpus's statistics are then a matrix product.
        times = generator.multinomial(sentences, uniform, size=min(_BLOCK, resamples - start))
        ratios += _ratios(metric, times @ ours, times @ theirs)
    defined = [ratio for ratio in ratios if ratio is not None]
    if len(defined) < resamples:
        return Retention(value, None)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Retention(value, (float(low), float(high)))


def _ratios(metric: str, ours: np.ndarray, theirs: np.ndarray) -> list[float | None]:
    """Score ratios of corpora given by their summed statistics, (corpora, counts) each; None for x / 0."""
    scores = zip(from_statistics(metric, ours.tolist()), from_statistics(metric, theirs.tolist()), strict=True)
    return [ours / theirs if theirs > 0 else None for ours, theirs in scores]

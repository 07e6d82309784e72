"""Compute how much of the reference's quality a system keeps, whether two systems differ, and how certain both are.

Paired bootstrap resampling (Koehn, 2004, "Statistical Significance Tests for Machine Translation Evaluation") draws
sentences with replacement, the same ones for both systems, and computes the two corpus scores each time.

Approximate randomization (Riezler and Maxwell, 2005, "On Some Pitfalls in Automatic Evaluation and Significance
Testing for MT"; Clark et al., 2011, "Better Hypothesis Testing for Statistical Machine Translation") exchanges the two
systems' translations of sentences at random: if the systems were equal, that would change nothing.

Both need only the sentence-level statistics that are stored with a score. sacreBLEU's ``PairedTest`` is not used for
two reasons. It counts only chance differences that are strictly larger than the observed one, so that two systems with
the same translations differ "significantly". And its bootstrap takes absolute differences less their mean, as a Moses
script did, which finds p ≤ 0.1 between equal systems in more than a quarter of all cases. Here equal differences count,
and differences are shifted to a mean of 0 before their sign is dropped (Noreen, 1989, "Computer-Intensive Methods for
Testing Hypotheses").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from stc.errors import InputError
from stc.metrics.metric import Metric, Rows, metric_named
from stc.metrics.sample_size import enough_sentences

_BLOCK = 256  # resamples that are drawn together; memory is _BLOCK × sentences


class Resampling(TypedDict):
    """The settings by which chance is simulated.

    Attributes:
        resamples: how many corpora are drawn, and how many times translations are exchanged. No p-value is below
            1 / (resamples + 1).
        confidence: of an interval, in (0, 1).
        seed: equal seeds draw the same sentences for every system.
    """

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Retention:
    """The part of the reference's quality that a system keeps: the ratio of their scores, as the metric defines it.

    Attributes:
        value: on the whole corpus; None where a score of 0 leaves it open.
        interval: the confidence interval (low, high); None if there are too few sentences, or if the ratio is open on
            any of the resamples.
    """

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """Score of a system minus the score of another, in points. With too few sentences it is the value alone.

    Attributes:
        value: on the whole corpus.
        interval: the confidence interval (low, high), by paired bootstrap.
        p_bootstrap: the probability, in (0, 1], of a difference at least as large, of either sign, between equal
            systems. Chance is how the resampled differences deviate from their mean.
        p_randomization: the same, where chance is the exchange of the two systems' translations. According to Riezler
            and Maxwell it mistakes chance for a difference less often.
    """

    value: float
    interval: tuple[float, float] | None
    p_bootstrap: float | None
    p_randomization: float | None


def retention(metric: str, system: Rows, reference: Rows, **resampling: Unpack[Resampling]) -> Retention:
    """Return the retention of a system and its paired-bootstrap percentile interval.

    Args:
        metric: the name of the metric whose statistics these are.
        reference: statistics of the system compared with, for the same sentences in the same order.

    Raises:
        InputError: the two have different numbers of sentences.
    """
    scorer = metric_named(metric)
    ours, theirs = _paired(metric, system, reference)
    value = scorer.retention(_corpus_score(scorer, ours), _corpus_score(scorer, theirs))
    if not enough_sentences(len(ours)):
        return Retention(value, None)
    pairs = zip(*(_bootstrap(scorer, rows, resampling) for rows in (ours, theirs)), strict=True)
    ratios = [ratio for pair in pairs if (ratio := scorer.retention(*pair)) is not None]
    if len(ratios) < resampling["resamples"]:
        return Retention(value, None)
    return Retention(value, _percentiles(np.array(ratios), resampling["confidence"]))


def interval(metric: str, system: Rows, **resampling: Unpack[Resampling]) -> tuple[float, float] | None:
    """Return the bootstrap percentile interval of a system's corpus score; None if there are too few sentences."""
    if not enough_sentences(len(system)):
        return None
    scores = _bootstrap(metric_named(metric), np.asarray(system), resampling)
    return _percentiles(scores, resampling["confidence"])


def difference(metric: str, system: Rows, other: Rows, **resampling: Unpack[Resampling]) -> Difference:
    """Test whether two systems differ, by paired bootstrap and by approximate randomization.

    Raises:
        InputError: the two have different numbers of sentences.
    """
    scorer = metric_named(metric)
    ours, theirs = _paired(metric, system, other)
    value = _corpus_score(scorer, ours) - _corpus_score(scorer, theirs)
    if not enough_sentences(len(ours)):
        return Difference(value, None, None, None)
    differences = _bootstrap(scorer, ours, resampling) - _bootstrap(scorer, theirs, resampling)
    return Difference(
        value,
        _percentiles(differences, resampling["confidence"]),
        _p_value(differences - differences.mean(), value),
        _p_value(_randomize(scorer, ours, theirs, resampling), value),
    )


def _paired(metric: str, system: Rows, other: Rows) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.asarray(system), np.asarray(other)
    if ours.shape != theirs.shape:
        raise InputError(f"{metric}: statistics of shape {ours.shape} cannot be paired with {theirs.shape}")
    return ours, theirs


def _corpus_score(scorer: Metric, rows: np.ndarray) -> float:
    return scorer.from_statistics(rows.sum(axis=0, keepdims=True).tolist())[0]


def _bootstrap(scorer: Metric, rows: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return the scores of corpora drawn with replacement: (resamples,)."""
    generator, resamples = np.random.default_rng(resampling["seed"]), resampling["resamples"]
    sentences = len(rows)
    uniform = np.full(sentences, 1 / sentences)
    scores: list[float] = []
    for start in range(0, resamples, _BLOCK):
        # How often each sentence is drawn: (block, sentences). The sums of a corpus are then a matrix product.
        times = generator.multinomial(sentences, uniform, size=min(_BLOCK, resamples - start))
        scores += scorer.from_statistics((times @ rows).tolist())
    return np.array(scores)


def _randomize(scorer: Metric, ours: np.ndarray, theirs: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return the differences of scores after a coin decided for each sentence whether to exchange the translations:
    (resamples,)."""
    generator, trials = np.random.default_rng(resampling["seed"]), resampling["resamples"]
    total = (ours + theirs).sum(axis=0)
    differences: list[float] = []
    for start in range(0, trials, _BLOCK):
        keep = generator.integers(2, size=(min(_BLOCK, trials - start), len(ours)))
        first = keep @ ours + (1 - keep) @ theirs
        scores = (scorer.from_statistics(sums.tolist()) for sums in (first, total - first))
        differences += [one - other for one, other in zip(*scores, strict=True)]
    return np.array(differences)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _p_value(by_chance: np.ndarray, observed: float) -> float:
    """Return the share of chance results at least as far from 0 as the observed one, which counts as one of them."""
    rounding = 1e-9  # sums in another order differ by this much, and equal differences have to count
    return float(((np.abs(by_chance) >= abs(observed) - rounding).sum() + 1) / (len(by_chance) + 1))

"""How much of the reference system's quality a system keeps, whether two systems differ, and how certain that is.

Paired bootstrap resampling (Koehn, 2004, "Statistical Significance Tests for Machine Translation Evaluation"):
sentences are drawn with replacement, the same ones for both systems, and the two corpus scores are taken every time.

Approximate randomization (Riezler and Maxwell, 2005, "On Some Pitfalls in Automatic Evaluation and Significance
Testing for MT"; Clark et al., 2011, "Better Hypothesis Testing for Statistical Machine Translation"): if the two
systems were equal, exchanging their translations of any sentence would change nothing.

Both work on the sentence-level statistics that a score is kept with. sacreBLEU's ``PairedTest`` has two tests of these
names as well, and is not used, for what it counts: chance differences strictly larger than the one observed, so that
two systems with the same translations differ "significantly"; and for the bootstrap, absolute differences less their
mean, as a Moses script did, which finds a difference at p ≤ 0.1 between equal systems in more than a quarter of all
cases. Here equal differences count, and differences are shifted before their sign is dropped (Noreen, 1989,
"Computer-Intensive Methods for Testing Hypotheses").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from stc.errors import InputError
from stc.metrics.metric import Metric, Rows, metric_named
from stc.metrics.sample_size import enough_sentences

_BLOCK = 256  # resamples drawn together: bounds the memory at _BLOCK × sentences


class Resampling(TypedDict):
    """How chance is imitated.

    Attributes:
        resamples: how many corpora are drawn, and how often translations are exchanged. No p-value is below
            1 / (resamples + 1).
        confidence: of an interval, in (0, 1).
        seed: of the draw; equal seeds draw the same sentences whatever the system.
    """

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Retention:
    """How much of the reference system's quality a system keeps, as the metric divides their scores.

    Attributes:
        value: the ratio on the whole corpus; None where a score of zero leaves it open.
        interval: its confidence interval (low, high); None for too few sentences, and where the ratio is open on any
            of the resamples.
    """

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """Score of a system minus the score of another, in points.

    For too few sentences there is a value and nothing else.

    Attributes:
        value: on the whole corpus.
        interval: its confidence interval by paired bootstrap (low, high).
        p_bootstrap: how probable a difference at least as large, of either sign, is between equal systems, where the
            deviations of the resampled differences from their mean stand for chance; in (0, 1].
        p_randomization: the same, where exchanging the two systems' translations stands for chance. Riezler and
            Maxwell find that it takes chance for a difference less often.
    """

    value: float
    interval: tuple[float, float] | None
    p_bootstrap: float | None
    p_randomization: float | None


def retention(metric: str, system: Rows, reference_system: Rows, **resampling: Unpack[Resampling]) -> Retention:
    """Retention and its paired-bootstrap percentile interval.

    Args:
        metric: whose sentence-level statistics the two are.
        reference_system: those of the system compared with, for the same sentences in the same order.

    Raises:
        InputError: when the two do not cover the same number of sentences.
    """
    scorer = metric_named(metric)
    ours, theirs = _paired(metric, system, reference_system)
    value = scorer.retention(_corpus_score(scorer, ours), _corpus_score(scorer, theirs))
    if not enough_sentences(len(ours)):
        return Retention(value, None)
    pairs = zip(*(_bootstrapped(scorer, one, resampling) for one in (ours, theirs)), strict=True)
    ratios = [ratio for pair in pairs if (ratio := scorer.retention(*pair)) is not None]
    if len(ratios) < resampling["resamples"]:
        return Retention(value, None)
    return Retention(value, _percentiles(np.array(ratios), resampling["confidence"]))


def interval(metric: str, system: Rows, **resampling: Unpack[Resampling]) -> tuple[float, float] | None:
    """Return the bootstrap percentile interval of one system's corpus score, None for too few sentences."""
    if not enough_sentences(len(system)):
        return None
    scores = _bootstrapped(metric_named(metric), np.asarray(system), resampling)
    return _percentiles(scores, resampling["confidence"])


def difference(metric: str, system: Rows, other: Rows, **resampling: Unpack[Resampling]) -> Difference:
    """Whether two systems differ, by paired bootstrap and by approximate randomization.

    Raises:
        InputError: when the two do not cover the same number of sentences.
    """
    scorer = metric_named(metric)
    ours, theirs = _paired(metric, system, other)
    value = _corpus_score(scorer, ours) - _corpus_score(scorer, theirs)
    if not enough_sentences(len(ours)):
        return Difference(value, None, None, None)
    resampled, others = (_bootstrapped(scorer, one, resampling) for one in (ours, theirs))
    differences = resampled - others
    return Difference(
        value,
        _percentiles(differences, resampling["confidence"]),
        _p_value(differences - differences.mean(), value),
        _p_value(_exchanged(scorer, ours, theirs, resampling), value),
    )


def _paired(metric: str, system: Rows, other: Rows) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.asarray(system), np.asarray(other)
    if ours.shape != theirs.shape:
        raise InputError(f"{metric}: statistics of shape {ours.shape} cannot be paired with {theirs.shape}")
    return ours, theirs


def _corpus_score(scorer: Metric, rows: np.ndarray) -> float:
    return scorer.from_statistics(rows.sum(axis=0, keepdims=True).tolist())[0]


def _bootstrapped(scorer: Metric, rows: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Scores of corpora drawn with replacement: (resamples,)."""
    generator, resamples = np.random.default_rng(resampling["seed"]), resampling["resamples"]
    sentences = len(rows)
    uniform = np.full(sentences, 1 / sentences)
    scores: list[float] = []
    for start in range(0, resamples, _BLOCK):
        # How often each sentence is drawn: (block, sentences). A corpus's statistics are then a matrix product.
        times = generator.multinomial(sentences, uniform, size=min(_BLOCK, resamples - start))
        scores += scorer.from_statistics((times @ rows).tolist())
    return np.array(scores)


def _exchanged(scorer: Metric, ours: np.ndarray, theirs: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Score differences after each sentence's two translations were exchanged or not, by a coin: (resamples,)."""
    generator, trials = np.random.default_rng(resampling["seed"]), resampling["resamples"]
    total = (ours + theirs).sum(axis=0)
    differences: list[float] = []
    for start in range(0, trials, _BLOCK):
        keep = generator.integers(2, size=(min(_BLOCK, trials - start), len(ours)))
        first = keep @ ours + (1 - keep) @ theirs
        scores = zip(
            scorer.from_statistics(first.tolist()), scorer.from_statistics((total - first).tolist()), strict=True
        )
        differences += [one - other for one, other in scores]
    return np.array(differences)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _p_value(by_chance: np.ndarray, observed: float) -> float:
    """The share of chance that is at least as far from 0 as what was observed, which is one of its cases itself."""
    rounding = 1e-9  # sums in another order: what is equal must not be taken for smaller
    return float(((np.abs(by_chance) >= abs(observed) - rounding).sum() + 1) / (len(by_chance) + 1))

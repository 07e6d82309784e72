"""The paired bootstrap of retention."""

from __future__ import annotations

import numpy as np
import pytest

from stc.errors import InputError
from stc.metrics.significance import Retention, retention
from stc.metrics.text import score, statistics

WORDS = ["das", "rote", "Haus", "steht", "am", "Fluss", "und", "ein", "kleiner", "Hund", "läuft", "heute", "über"]


def corpus(sentences: int, wrong: float) -> tuple[list[str], list[str]]:
    """References of random words, and hypotheses with a share of the words replaced."""
    random = np.random.default_rng(1)
    references = [" ".join(random.choice(WORDS, 10)) for _ in range(sentences)]
    hypotheses = [" ".join("x" if random.random() < wrong else w for w in line.split()) for line in references]
    return hypotheses, references


def stats(sentences: int, wrong: float) -> list[list[int]]:
    return statistics("chrf_pp", *corpus(sentences, wrong), "de")


def keep(
    ours: list[list[int]], theirs: list[list[int]], *, resamples: int = 300, confidence: float = 0.95, seed: int = 0
) -> Retention:
    return retention("chrf_pp", ours, theirs, resamples=resamples, confidence=confidence, seed=seed)


def bounds(result: Retention) -> tuple[float, float]:
    assert result.interval is not None
    return result.interval


def test_value_is_the_ratio_of_the_corpus_scores() -> None:
    (ours, references), (theirs, _) = corpus(50, 0.3), corpus(50, 0.1)
    expected = score("chrf_pp", ours, references, "de") / score("chrf_pp", theirs, references, "de")
    result = keep(stats(50, 0.3), stats(50, 0.1))
    low, high = bounds(result)
    assert result.value == pytest.approx(expected)
    assert low < expected < high


def test_sentences_are_paired() -> None:
    """A system compared with itself keeps exactly everything, whichever sentences are drawn."""
    assert keep(stats(20, 0.3), stats(20, 0.3)) == Retention(1.0, (1.0, 1.0))


def test_resampling_statistics_equals_scoring_the_resampled_text() -> None:
    (ours, references), (theirs, _) = corpus(12, 0.4), corpus(12, 0.1)
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=1)[0]

    def drawn(texts: list[str]) -> list[str]:
        return [text for text, count in zip(texts, times, strict=True) for _ in range(count)]

    expected = score("chrf_pp", drawn(ours), drawn(references), "de") / score(
        "chrf_pp", drawn(theirs), drawn(references), "de"
    )
    result = keep(stats(12, 0.4), stats(12, 0.1), resamples=1, seed=5)
    assert bounds(result) == pytest.approx((expected, expected))


def test_seed_decides_the_interval() -> None:
    ours, theirs = stats(30, 0.3), stats(30, 0.1)
    assert keep(ours, theirs, seed=3) == keep(ours, theirs, seed=3)
    assert keep(ours, theirs, seed=3) != keep(ours, theirs, seed=4)


def test_higher_confidence_widens_the_interval() -> None:
    ours, theirs = stats(30, 0.3), stats(30, 0.1)
    (low, high), (lower, higher) = (bounds(keep(ours, theirs, confidence=c)) for c in (0.8, 0.99))
    assert lower < low < high < higher


def test_more_sentences_narrow_the_interval() -> None:
    low, high = bounds(keep(stats(20, 0.3), stats(20, 0.1)))
    lower, higher = bounds(keep(stats(400, 0.3), stats(400, 0.1)))
    assert higher - lower < 0.5 * (high - low)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 small corpora drawn from a large one; 90 % intervals, binomial standard error 2 points."""
    ours, theirs = np.array(stats(3000, 0.3)), np.array(stats(3000, 0.1))
    truth = keep(ours.tolist(), theirs.tolist(), resamples=1).value
    assert truth is not None
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        chosen = random.integers(0, 3000, 60)
        low, high = bounds(keep(ours[chosen].tolist(), theirs[chosen].tolist(), confidence=0.9, resamples=200))
        covered += low <= truth <= high
    assert 0.82 < covered / 200 < 0.97


def test_reference_system_that_scores_zero_gives_no_retention() -> None:
    assert keep(stats(10, 0.1), stats(10, 1.0)) == Retention(None, None)


def test_zero_on_a_resample_gives_a_value_without_interval() -> None:
    theirs = stats(2, 1.0)[:1] + stats(2, 0.0)[1:]  # drawing the first sentence twice scores zero
    result = keep(stats(2, 0.0), theirs)
    assert result.value is not None
    assert result.interval is None


def test_unpaired_statistics_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be paired"):
        keep(stats(10, 0.1), stats(11, 0.1))

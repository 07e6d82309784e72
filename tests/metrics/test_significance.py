"""The paired bootstrap of retention, and the two tests of a difference."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sacrebleu.metrics import CHRF
from sacrebleu.significance import PairedTest

from stc.errors import InputError
from stc.metrics.metric import score, statistics
from stc.metrics.significance import Difference, Retention, difference, interval, retention

WORDS = ["das", "rote", "Haus", "steht", "am", "Fluss", "und", "ein", "kleiner", "Hund", "läuft", "heute", "über"]


def corpus(sentences: int, wrong: float) -> tuple[list[str], list[str]]:
    """References of random words, and hypotheses with a share of the words replaced."""
    random = np.random.default_rng(1)
    references = [" ".join(random.choice(WORDS, 10)) for _ in range(sentences)]
    hypotheses = [" ".join("x" if random.random() < wrong else w for w in line.split()) for line in references]
    return hypotheses, references


@cache
def stats(sentences: int, wrong: float) -> list[list[float]]:
    return statistics("chrf_pp", *corpus(sentences, wrong), "de")


def keep(
    ours: list[list[float]], theirs: list[list[float]], *, resamples: int = 300, confidence: float = 0.95, seed: int = 0
) -> Retention:
    return retention("chrf_pp", ours, theirs, resamples=resamples, confidence=confidence, seed=seed)


def differ(ours: list[list[float]], theirs: list[list[float]], *, resamples: int = 500, seed: int = 0) -> Difference:
    return difference("chrf_pp", ours, theirs, resamples=resamples, confidence=0.95, seed=seed)


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
    assert keep(stats(30, 0.3), stats(30, 0.3)) == Retention(1.0, (1.0, 1.0))


def test_resampling_statistics_equals_scoring_the_resampled_text() -> None:
    (ours, references), (theirs, _) = corpus(32, 0.4), corpus(32, 0.1)
    times = np.random.default_rng(5).multinomial(32, np.full(32, 1 / 32), size=1)[0]

    def drawn(texts: list[str]) -> list[str]:
        return [text for text, count in zip(texts, times, strict=True) for _ in range(count)]

    expected = score("chrf_pp", drawn(ours), drawn(references), "de") / score(
        "chrf_pp", drawn(theirs), drawn(references), "de"
    )
    result = keep(stats(32, 0.4), stats(32, 0.1), resamples=1, seed=5)
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
    low, high = bounds(keep(stats(30, 0.3), stats(30, 0.1)))
    lower, higher = bounds(keep(stats(400, 0.3), stats(400, 0.1)))
    assert higher - lower < 0.5 * (high - low)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 small corpora drawn from a large one; 90 % intervals, binomial standard error 2 points."""
    ours, theirs = np.array(stats(1000, 0.3)), np.array(stats(1000, 0.1))
    truth = keep(ours.tolist(), theirs.tolist(), resamples=1).value
    assert truth is not None
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        chosen = random.integers(0, 1000, 60)
        low, high = bounds(keep(ours[chosen].tolist(), theirs[chosen].tolist(), confidence=0.9, resamples=200))
        covered += low <= truth <= high
    assert 0.82 < covered / 200 < 0.97


def test_reference_system_that_scores_zero_gives_no_retention() -> None:
    assert keep(stats(10, 0.1), stats(10, 1.0)) == Retention(None, None)


def test_zero_on_a_resample_gives_a_value_without_interval() -> None:
    theirs = stats(30, 1.0)[:29] + stats(30, 0.0)[29:]  # not drawing the last sentence scores zero
    result = keep(stats(30, 0.0), theirs)
    assert result.value is not None
    assert result.interval is None


def test_fewer_than_thirty_sentences_have_figures_and_no_interval_and_no_p_value() -> None:
    (ours, references), (theirs, _) = corpus(29, 0.5), corpus(29, 0.1)
    one, other = (score("chrf_pp", texts, references, "de") for texts in (ours, theirs))
    assert keep(stats(29, 0.5), stats(29, 0.1)) == Retention(pytest.approx(one / other), None)
    assert differ(stats(29, 0.5), stats(29, 0.1)) == Difference(pytest.approx(one - other), None, None, None)
    assert interval("chrf_pp", stats(29, 0.5), resamples=300, confidence=0.95, seed=0) is None


def test_unpaired_statistics_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be paired"):
        keep(stats(10, 0.1), stats(11, 0.1))


def made_wrong(references: list[str], share: float, seed: int) -> list[str]:
    """Each word replaced with that probability, independently of any other call."""
    random = np.random.default_rng(seed)
    return [" ".join("x" if random.random() < share else word for word in line.split()) for line in references]


@pytest.mark.parametrize("share", [0.3, 0.32, 0.34, 0.4])
def test_randomization_agrees_with_sacrebleu(share: float) -> None:
    """Between texts of which every sentence differs; four standard errors of the difference of two estimates."""
    _, references = corpus(100, 0.0)
    ours, theirs = made_wrong(references, 0.3, 3), made_wrong(references, share, 4)
    _, rows = PairedTest([("theirs", theirs), ("ours", ours)], {"": CHRF(word_order=2)}, [references], "ar", 2000)()
    expected = rows["chrF2++"][1].p_value
    tested = (statistics("chrf_pp", texts, references, "de") for texts in (ours, theirs))
    found = differ(*tested, resamples=2000).p_randomization
    assert found == pytest.approx(expected, abs=4 * (2 * expected * (1 - expected) / 2000) ** 0.5)


def test_randomization_of_few_differing_sentences_agrees_with_the_exact_count() -> None:
    """Five sentences differ, all for the worse: of the 32 exchanges, all and none are as extreme. sacreBLEU, which
    counts more extreme ones only, finds 1 / 2001 here."""
    _, references = corpus(60, 0.0)
    ours = ["x x x" if number < 5 else line for number, line in enumerate(references)]
    rows = [statistics("chrf_pp", texts, references, "de") for texts in (ours, references)]
    assert differ(*rows, resamples=2000).p_randomization == pytest.approx(2 / 32, abs=0.022)


def test_difference_is_between_the_corpus_scores_and_in_its_interval() -> None:
    (ours, references), (theirs, _) = corpus(50, 0.3), corpus(50, 0.1)
    result = differ(stats(50, 0.3), stats(50, 0.1))
    assert result.interval is not None
    low, high = result.interval
    assert result.value == pytest.approx(
        score("chrf_pp", ours, references, "de") - score("chrf_pp", theirs, references, "de")
    )
    assert low < result.value < high < 0


def test_clear_difference_has_the_smallest_p_and_equal_systems_have_1() -> None:
    clear, none = differ(stats(50, 0.5), stats(50, 0.1)), differ(stats(50, 0.3), stats(50, 0.3))
    assert clear.p_bootstrap == clear.p_randomization == pytest.approx(1 / 501)
    assert (none.value, none.interval, none.p_bootstrap, none.p_randomization) == (0, (0, 0), 1, 1)


def test_swapped_systems_have_the_opposite_difference_and_the_same_p_values() -> None:
    there, back = differ(stats(40, 0.3), stats(40, 0.25)), differ(stats(40, 0.25), stats(40, 0.3))
    assert there.value == -back.value
    assert back.interval is not None
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert (there.p_bootstrap, there.p_randomization) == (back.p_bootstrap, back.p_randomization)


def test_p_values_of_equal_systems_are_calibrated() -> None:
    """300 pairs, each of 30 sentences of two texts with the same share of wrong words; a coin says for every sentence
    whose is whose. p ≤ 0.1 in a tenth of the pairs, standard error 1.7 points."""
    _, references = corpus(300, 0.0)
    texts = np.array([statistics("chrf", made_wrong(references, 0.2, seed), references, "de") for seed in (0, 1)])
    random = np.random.default_rng(2)
    tested = []
    for pair in range(300):
        chosen, coin = random.integers(0, 300, 30), random.integers(0, 2, 30)
        ours, theirs = (texts[side, chosen].tolist() for side in (coin, 1 - coin))
        tested.append(difference("chrf", ours, theirs, resamples=59, confidence=0.9, seed=pair))
    for p_values in ([one.p_randomization for one in tested], [one.p_bootstrap for one in tested]):
        assert 0.05 < sum(p is not None and p <= 0.1 for p in p_values) / 300 < 0.16


def test_interval_contains_the_score_and_narrows_with_more_sentences() -> None:
    few, many = (interval("chrf_pp", stats(count, 0.3), resamples=300, confidence=0.95, seed=0) for count in (30, 400))
    assert few is not None
    assert many is not None
    ours, references = corpus(30, 0.3)
    assert few[0] < score("chrf_pp", ours, references, "de") < few[1]
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_difference_of_unpaired_statistics_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be paired"):
        differ(stats(10, 0.1), stats(11, 0.1))

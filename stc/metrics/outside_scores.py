"""Scores of sentences that were computed elsewhere, such as by the organisers of a task who keep the references."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from stc.errors import InputError
from stc.metrics.metric import SentenceMetric, corpus_score, metric_named, metric_names, outside
from stc.metrics.score_files import MetricScore
from stc.system.read_files import parse_json, read_lines


class OutsideMetric(SentenceMetric):
    """A metric that stc cannot compute, only read."""

    def scores(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> Iterable[float]:
        raise InputError(f"{self.title} is computed elsewhere: its scores are read from files")

    def signature(self, target_lang: str) -> str:
        return "read from a file"


def add_outside_metric(name: str, *, lower_is_better: bool) -> None:
    """Make a metric known by its name, so that tables and tests show it as any other.

    Raises:
        InputError: stc has a metric of this name.
    """
    if name in metric_names():
        raise InputError(f"--scores: {name!r} is a metric that stc computes; give it another name")
    metric_named.cache_clear()
    outside[name] = type(name, (OutsideMetric,), {"title": name, "lower_is_better": lower_is_better})()


def read_outside_scores(name: str, file: Path) -> MetricScore:
    """Return the scores of a file. A line is the score of a sentence: a number, or a JSON object with ``score``.

    Args:
        name: that of a metric known by :func:`add_outside_metric`.

    Raises:
        InputError: the file is missing, empty, or has a line without a finite number.
    """
    rows: list[list[float]] = []
    try:
        for number, text in read_lines(file):
            where = f"{file}, line {number}"
            found = parse_json(text, where, object)
            score = found.get("score") if isinstance(found, dict) else found
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise InputError(f"{where}: a number is needed, or an object with a number under 'score'")
            rows.append([float(score), 1])
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None
    if not rows:
        raise InputError(f"{file} has no scores")
    return MetricScore(score=corpus_score(name, rows), signature="read from a file", statistics=list(rows))

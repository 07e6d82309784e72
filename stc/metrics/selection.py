"""By what layers are selected: a text metric of translations, or the teacher-forced loss. Imports no torch."""

from __future__ import annotations

from typing import Literal

from stc.metrics.text import signature

SelectionMetric = Literal["bleu", "chrf", "chrf_pp", "loss"]
LOWER_IS_BETTER = frozenset({"loss"})


def goodness(metric: SelectionMetric, score: float) -> float:
    """``score`` turned so that more of it is better."""
    return -score if metric in LOWER_IS_BETTER else score


def described(metric: SelectionMetric, target_lang: str) -> str:
    """What the score is exactly: sacreBLEU's signature, or the loss in words."""
    return "teacher-forced cross-entropy, nats a target token" if metric == "loss" else signature(metric, target_lang)

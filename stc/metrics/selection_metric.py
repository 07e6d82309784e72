"""The score by which layers are selected: a metric of translations, or the teacher-forced loss."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from stc.metrics.metric import Settings, metric_named, metric_with, validated_name

LOSS = "loss"
"""Names the teacher-forced loss, of which lower is better, in the place of a metric."""

SelectionMetric = Annotated[str, AfterValidator(lambda name: validated_name(name, LOSS))]
"""A field that names a metric or the loss."""


def goodness(name: str, score: float) -> float:
    """Return ``score`` with its sign changed where lower is better, so that more is always better."""
    return -score if name == LOSS else metric_named(name).goodness(score)


def title_of(name: str) -> str:
    return name if name == LOSS else metric_named(name).title


def signature_of(name: str, target_lang: str, settings: Settings) -> str:
    """Return exactly what the score is: the signature of the metric, or the loss in words."""
    if name == LOSS:
        return "teacher-forced cross-entropy, nats a target token"
    return metric_with(name, settings).signature(target_lang)

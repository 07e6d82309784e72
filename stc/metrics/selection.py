"""By what layers are selected: a metric of translations, or the teacher-forced loss. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from stc.metrics.metric import metric_named, validated_name

LOSS = "loss"
"""What stands for the teacher-forced loss where a metric could be named. Less of it is better."""

SelectionMetric = Annotated[str, AfterValidator(lambda name: validated_name(name, LOSS))]
"""A field that names a metric or the loss."""


def goodness(name: str, score: float) -> float:
    """Return ``score`` turned so that more of it is better."""
    return -score if name == LOSS else metric_named(name).goodness(score)


def title_of(name: str) -> str:
    """Return the name in print."""
    return name if name == LOSS else metric_named(name).title


def signature_of(name: str, target_lang: str) -> str:
    """Return what the score is exactly: the signature of the metric, or the loss in words."""
    return (
        "teacher-forced cross-entropy, nats a target token"
        if name == LOSS
        else metric_named(name).signature(target_lang)
    )

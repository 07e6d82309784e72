"""Systems that were scored on the same data, side by side: how much of the reference's quality each keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Unpack

from stc.metrics.metric import metric_named
from stc.metrics.records import Scores
from stc.metrics.significance import Resampling, difference, interval, retention


def compare_systems(
    scores: Mapping[str, Scores], layers: Mapping[str, int], *, metric: str, **resampling: Unpack[Resampling]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What is compared and how, and by label the quality of each system.

    Retention is relative to the reference: the best, by ``metric``, of the systems with as many layers as the most
    any has, which are the unpruned ones. Its interval is a paired bootstrap, and each system
    is tested against every unpruned one, which are the teacher and the controls (:mod:`stc.metrics.significance`).

    Args:
        scores: by label; all of the same sentences, and by ``metric`` among others.
        layers: how many each has, of decoder and encoder together.
    """
    most = max(layers[label] for label in scores)
    unpruned = [label for label in scores if layers[label] == most]
    goodness = metric_named(metric).goodness
    reference = max(unpruned, key=lambda label: goodness(scores[label].metrics[metric].score))
    signatures = {name: one.signature for record in scores.values() for name, one in record.metrics.items()}
    compared = {
        "metric": metric,
        "reference": reference,
        **resampling,
        "target_lang": scores[reference].target_lang,
        "sentences": scores[reference].sentences,
        "signatures": signatures,
    }
    counted = {label: record.metrics[metric].statistics for label, record in scores.items()}
    quality = {}
    for label, record in scores.items():
        kept = retention(metric, counted[label], counted[reference], **resampling)
        quality[label] = {
            **{name: record.metrics[name].score if name in record.metrics else None for name in signatures},
            "score_ci": interval(metric, counted[label], **resampling),
            "retention": kept.value,
            "retention_ci": kept.interval,
            "tests": [
                {"against": other, **asdict(difference(metric, counted[label], counted[other], **resampling))}
                for other in _others(label, unpruned)
            ],
        }
    return compared, quality


def _others(label: str, unpruned: Sequence[str]) -> Sequence[str]:
    """The unpruned systems that one is tested against; of two unpruned ones the later against the earlier."""
    return unpruned[: unpruned.index(label)] if label in unpruned else unpruned

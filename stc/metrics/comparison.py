"""The comparison of systems that were scored on the same data: how much of the reference's quality each keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Unpack

from stc.metrics.metric import metric_named
from stc.metrics.score_files import Scores
from stc.metrics.significance import Resampling, difference, interval, retention


def compare_systems(
    scores: Mapping[str, Scores], layers: Mapping[str, int], *, metric: str, **resampling: Unpack[Resampling]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return how the systems were compared, and the quality of each system by its label.

    The systems with the most layers are the unpruned ones: the teacher and the controls. The best of them by ``metric``
    is the reference of retention. Each system is tested against every unpruned one, and an unpruned one against those
    before it (:mod:`stc.metrics.significance`).

    Args:
        scores: label → scores, all of the same sentences, and by ``metric`` among others.
        layers: label → number of layers, of decoder and encoder together.
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
    statistics = {label: record.metrics[metric].statistics for label, record in scores.items()}
    quality = {}
    for label, record in scores.items():
        retained = retention(metric, statistics[label], statistics[reference], **resampling)
        others = unpruned[: unpruned.index(label)] if label in unpruned else unpruned
        quality[label] = {
            **{name: record.metrics[name].score if name in record.metrics else None for name in signatures},
            "score_ci": interval(metric, statistics[label], **resampling),
            "retention": retained.value,
            "retention_ci": retained.interval,
            "tests": [
                {"against": other, **asdict(difference(metric, statistics[label], statistics[other], **resampling))}
                for other in others
            ],
        }
    return compared, quality

"""compare: the table of a run: every system's size, quality, speed, and how much quality it kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.errors import InputError, nearest
from stc.metrics.records import REFERENCES_FILE, Measurement, Scores
from stc.metrics.significance import Resampling, difference, interval, retention
from stc.metrics.text import METRICS, MetricName
from stc.report import COMPARISON_FILE, in_context, markdown, table
from stc.stage import Artifact, Context, Inputs, Kind, Stage, Takes


class Compare(Stage):
    """Systems side by side, in the order of ``scores``.

    Retention is a system's ``metric`` over that of the reference: the best, by that metric, of the systems with
    as many decoder layers as the most any has, which are the unpruned ones. Its interval is a paired bootstrap, and
    each system is tested against the teacher and every control, which is to say against each unpruned system
    (:mod:`stc.metrics.significance`).

    Writes comparison.json, table.txt and table.md. Facts: ``reference`` and, by system, the retention.
    """

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {
        "scores": Takes(Kind.SCORES, many=True),
        "measurements": Takes(Kind.MEASUREMENT, many=True),
        "models": Takes(Kind.MODEL, many=True),
    }
    GIVES: ClassVar[Kind] = Kind.COMPARISON

    metric: MetricName
    resamples: int = Field(ge=1)
    confidence: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        _same_labels(inputs)
        scores = {label: Scores.load(artifact.path) for label, artifact in inputs["scores"].items()}
        measurements = {label: Measurement.load(inputs["measurements"][label].path) for label in scores}
        self._comparable(inputs["scores"], scores)

        most = max(measurement.decoder_layers for measurement in measurements.values())
        unpruned = [label for label in scores if measurements[label].decoder_layers == most]
        reference = max(unpruned, key=lambda label: scores[label].metrics[self.metric].score)
        content = {
            "metric": self.metric,
            "reference": reference,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "seed": self.seed,
            "target_lang": scores[reference].target_lang,
            "sentences": scores[reference].sentences,
            "signatures": {name: metric.signature for name, metric in scores[reference].metrics.items()},
            "systems": [
                {
                    **self._system(label, scores[label], scores[reference], measurements[label]),
                    "tests": [self._test(other, scores[label], scores[other]) for other in _others(label, unpruned)],
                }
                for label in scores
            ],
        }
        (out_dir / COMPARISON_FILE).write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        rows = in_context(content)
        (out_dir / "table.txt").write_text(table(rows), encoding="utf-8")
        (out_dir / "table.md").write_text(markdown(rows), encoding="utf-8")
        return {"reference": reference, "retention": {row["name"]: row["retention"] for row in rows}}

    def _comparable(self, artifacts: Mapping[str, Artifact], scores: Mapping[str, Scores]) -> None:
        """All systems were scored by our metric, and on the same sentences."""
        first: str | None = None
        references: bytes = b""
        for label, record in scores.items():
            if self.metric not in record.metrics:
                raise InputError(
                    f"compare.metric={self.metric}: {label!r} was scored by {', '.join(record.metrics)} only"
                )
            these = (artifacts[label].path / REFERENCES_FILE).read_bytes()
            if first is None:
                first, references = label, these
            elif these != references:
                raise InputError(f"{label!r} and {first!r} were scored on different data: their references differ")

    def _system(self, label: str, scores: Scores, reference: Scores, measurement: Measurement) -> dict[str, Any]:
        ours = scores.metrics[self.metric].statistics
        kept = retention(self.metric, ours, reference.metrics[self.metric].statistics, **self._resampling)
        return {
            "name": label,
            "layers": measurement.decoder_layers,
            "params": measurement.parameters,
            "packed_elements": measurement.packed_elements,
            "bytes_on_disk": measurement.bytes_on_disk,
            **{name: scores.metrics[name].score if name in scores.metrics else None for name in METRICS},
            "score_ci": interval(self.metric, ours, **self._resampling),
            "retention": kept.value,
            "retention_ci": kept.interval,
            "rtf": measurement.rtf,
            "rtf_batched": measurement.rtf_batched,
            "decode_batch": measurement.decode_batch,
            "peak_memory_bytes": measurement.peak_memory_bytes,
            "peak_memory_batched_bytes": measurement.peak_memory_batched_bytes,
            "device": measurement.device,
        }

    def _test(self, against: str, scores: Scores, other: Scores) -> dict[str, Any]:
        both = (record.metrics[self.metric].statistics for record in (scores, other))
        return {"against": against, **asdict(difference(self.metric, *both, **self._resampling))}

    @property
    def _resampling(self) -> Resampling:
        return {"resamples": self.resamples, "confidence": self.confidence, "seed": self.seed}


def _others(label: str, unpruned: Sequence[str]) -> Sequence[str]:
    """The unpruned systems that one is tested against; of two unpruned ones the later against the earlier."""
    return unpruned[: unpruned.index(label)] if label in unpruned else unpruned


def _same_labels(inputs: Inputs) -> None:
    """Every system that has scores has a measurement and a model, and there are no others."""
    scored = inputs["scores"]
    for name in ("measurements", "models"):
        for label in scored:
            if label not in inputs[name]:
                raise InputError(f"compare: {name} lacks {label!r}{nearest(label, inputs[name])}")
        for label in inputs[name]:
            if label not in scored:
                raise InputError(f"compare: {name} has {label!r}, which scores lacks{nearest(label, scored)}")

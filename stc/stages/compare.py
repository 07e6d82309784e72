"""compare: the table of a run, with the size, quality, speed and retention of every system."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.errors import InputError, suggestion
from stc.metrics.comparison import compare_systems
from stc.metrics.metric import MetricName
from stc.metrics.score_files import REFERENCES_FILE, Measurement, Scores
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.report.comparison import COMPARISON_FILE, comparison_rows
from stc.report.run_table import format_run_table
from stc.store.artifact import Artifact, Kind
from stc.system.field_types import Seed
from stc.system.tables import markdown_table


class Compare(Stage):
    """Compares systems, in the order of ``scores``, by :mod:`stc.metrics.comparison`.

    Writes comparison.json, table.txt and table.md. Facts: ``reference`` and, by system, the retention.

    Attributes:
        left_out: labels of controls that the run was told to leave out; the table says so.
        allow_leak: splits may share utterances. The input ``check``, which is read only then, says how many, and the
            table says so.
    """

    VERSION: ClassVar[int] = 3
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "scores": StageInput(Kind.SCORES, many=True),
        "measurements": StageInput(Kind.MEASUREMENT, many=True),
        "models": StageInput(Kind.MODEL, many=True, read=False),
        "check": StageInput(Kind.CHECK, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.COMPARISON
    NEWER_FIELDS: ClassVar[frozenset[str]] = frozenset({"left_out", "allow_leak"})

    metric: MetricName
    resamples: int = Field(ge=1)
    confidence: float = Field(gt=0, lt=1)
    seed: Seed
    left_out: tuple[str, ...] = ()
    allow_leak: bool = False

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        if not self.allow_leak:
            yield "check"

    def activity(self, inputs: Inputs) -> str:
        return f"comparing {len(inputs['scores'])} systems"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        _check_labels(inputs)
        scores = {label: Scores.load(artifact.path) for label, artifact in inputs["scores"].items()}
        measurements = {label: Measurement.load(inputs["measurements"][label].path) for label in scores}
        self._check_comparable(inputs["scores"], scores)

        compared, quality = compare_systems(
            scores,
            {label: one.decoder_layers + one.encoder_layers for label, one in measurements.items()},
            metric=self.metric,
            resamples=self.resamples,
            confidence=self.confidence,
            seed=self.seed,
        )
        systems = [
            _system(label, quality[label], measurements[label], inputs["scores"][label].facts) for label in scores
        ]
        if self.left_out:
            compared["left_out"] = list(self.left_out)
        if "check" in inputs and (shared := inputs["check"].facts.get("shared")):
            compared["shared_utterances"] = shared
        if cut := max(one.facts.get("cut_lines", 0) for one in inputs["scores"].values()):
            compared["cut_lines"] = cut  # all systems have the same data
        content = {**compared, "systems": systems}
        (out_dir / COMPARISON_FILE).write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        rows = comparison_rows(content)
        (out_dir / "table.txt").write_text(format_run_table(rows), encoding="utf-8")
        (out_dir / "table.md").write_text(format_run_table(rows, markdown_table), encoding="utf-8")
        return {"reference": compared["reference"], "retention": {row["name"]: row["retention"] for row in rows}}

    def _check_comparable(self, artifacts: Mapping[str, Artifact], scores: Mapping[str, Scores]) -> None:
        """Raise an InputError unless all systems have scores of the metric on the same sentences."""
        references = {label: (one.path / REFERENCES_FILE).read_bytes() for label, one in artifacts.items()}
        first = next(iter(scores))
        for label, record in scores.items():
            if self.metric not in record.metrics:
                known = ", ".join(record.metrics)
                raise InputError(f"compare.metric={self.metric}: {label!r} was scored by {known} only")
            if references[label] != references[first]:
                raise InputError(f"{label!r} and {first!r} were scored on different data: their references differ")


def _system(
    label: str, quality: Mapping[str, Any], measurement: Measurement, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": label,
        "layers": measurement.decoder_layers,
        "params": measurement.parameters,
        "packed_elements": measurement.packed_elements,
        "bytes_on_disk": measurement.bytes_on_disk,
        **quality,
        "rtf": measurement.rtf,
        "rtf_batched": measurement.rtf_batched,
        "decode_batch": measurement.decode_batch,
        "peak_memory_bytes": measurement.peak_memory_bytes,
        "peak_memory_batched_bytes": measurement.peak_memory_batched_bytes,
        "device": measurement.device,
        "output_faults": facts.get("output_faults"),  # None: they were not counted when the system was scored
        **{key: facts[key] for key in ("output_rules",) if key in facts},
    }


def _check_labels(inputs: Inputs) -> None:
    """Raise an InputError unless scores, measurements and models are of the same systems."""
    scored = inputs["scores"]
    for name in ("measurements", "models"):
        for label in [*scored, *inputs[name]]:
            if label not in inputs[name]:
                raise InputError(f"compare: {name} lacks {label!r}{suggestion(label, inputs[name])}")
            if label not in scored:
                raise InputError(f"compare: {name} has {label!r}, which scores lacks{suggestion(label, scored)}")

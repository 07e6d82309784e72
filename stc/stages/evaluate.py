"""evaluate: translate a data set with a model as it is saved, and score the translations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest
from stc.decoding.translating import Translating, write_lines
from stc.metrics.records import HYPOTHESES_FILE, REFERENCES_FILE, MetricScore, Scores
from stc.metrics.text import MetricName, from_statistics, signature, statistics
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Evaluate(Translating, Stage):
    """Quality of one system.

    Writes hypotheses.txt and references.txt (one sentence a line, in the manifest's order) and scores.json (the
    corpus scores, their signatures, and the sentence-level statistics from which they can be resampled).

    Facts: every metric's score, and ``sentences``.
    """

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {"model": Takes(Kind.MODEL), "data": Takes(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.SCORES

    metrics: list[MetricName] = Field(min_length=1)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        manifest = Manifest.load(inputs["data"].path)
        hypotheses = self.translations(inputs["model"].path, manifest, ctx)
        target_lang = manifest.task.target_lang
        metrics: dict[str, MetricScore] = {}
        for name in dict.fromkeys(self.metrics):
            rows = statistics(name, hypotheses, manifest.targets, target_lang)
            totals = [sum(column) for column in zip(*rows, strict=True)]
            metrics[name] = MetricScore(
                score=from_statistics(name, [totals])[0],
                signature=signature(name, target_lang),
                statistics=rows,
            )
        write_lines(out_dir / HYPOTHESES_FILE, hypotheses)
        write_lines(out_dir / REFERENCES_FILE, manifest.targets)
        scores = Scores(target_lang=target_lang, sentences=len(manifest), metrics=metrics)
        scores.save(out_dir)
        return {name: metric.score for name, metric in metrics.items()} | {"sentences": scores.sentences}

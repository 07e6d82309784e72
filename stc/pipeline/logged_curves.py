"""Metrics that a stage logs by step. They go into its artifact's record, so that a run that finds the artifact in the
store has them too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.system.read_files import parse_json

Curves = Mapping[str, list[list[float]]]
"""Name of a metric → its points [step, value], by step."""

_JOURNAL = "curves.jsonl"  # in scratch, so that a stage that resumes after a crash keeps the points before it


def with_journal(context: Context) -> Context:
    """Return a context whose ``log`` also writes metrics that have a step to a file in scratch."""
    journal = context.scratch / _JOURNAL

    def log(metrics: Mapping[str, float], step: int | None = None) -> None:
        context.log(metrics, step)
        if step is not None:
            with journal.open("a", encoding="utf-8") as file:
                # The newline comes first, so that a line torn by a crash does not run into the next one.
                file.write("\n" + json.dumps({"step": step, **{key: float(one) for key, one in metrics.items()}}))

    return replace(context, log=log)


def read_journal(scratch: Path) -> Curves:
    """Return the curves that a stage has logged. Of a step that was logged twice, the second values count."""
    journal = scratch / _JOURNAL
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    points: dict[str, dict[float, float]] = {}
    for line in lines:
        try:
            entry = parse_json(line, str(journal), dict[str, int | float])
            step = entry.pop("step")
        except (InputError, KeyError):  # a torn line, or the empty first one
            continue
        for key, value in entry.items():
            if math.isfinite(value):
                points.setdefault(key, {})[step] = value
    return {key: [[step, value] for step, value in sorted(found.items())] for key, found in points.items()}

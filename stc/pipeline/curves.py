"""What a stage logs by step, kept in its artifact's record, so that a run that finds the artifact has its curves."""

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

_Entry = dict[str, int | float]  # a line of the journal: ``step``, and what was logged at it
_JOURNAL = "curves.jsonl"  # in scratch, so that a stage that goes on after a crash keeps what came before


def with_journal(context: Context) -> Context:
    """A context whose ``log`` also writes down what it is told with a step."""
    journal = context.scratch / _JOURNAL

    def log(metrics: Mapping[str, float], step: int | None = None) -> None:
        context.log(metrics, step)
        if step is not None:
            with journal.open("a", encoding="utf-8") as file:
                # The line's end comes first: a line that a crash has torn does not run into the next.
                file.write("\n" + json.dumps({"step": step, **{key: float(one) for key, one in metrics.items()}}))

    return replace(context, log=log)


def read_journal(scratch: Path) -> Curves:
    """The curves of a stage that has ended. Of a step that was reached twice, the second time counts."""
    journal = scratch / _JOURNAL
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    points: dict[str, dict[float, float]] = {}
    for line in lines:
        try:
            entry = parse_json(line, str(journal), _Entry)
            step = entry.pop("step")
        except (InputError, KeyError):  # torn, or the empty one before the first
            continue
        for key, value in entry.items():
            if math.isfinite(value):
                points.setdefault(key, {})[step] = value
    return {key: [[step, value] for step, value in sorted(found.items())] for key, found in points.items()}

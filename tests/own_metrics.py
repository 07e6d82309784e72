"""Two metrics as somebody may write them: ``lab.exact`` and ``lab.length``, of which lower is better."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_EXACT = """
from stc.metrics.metric import SentenceMetric


class Exact(SentenceMetric):
    title = "exact match"

    def scores(self, hypotheses, references, sources, target_lang):
        return [100.0 * (one == other) for one, other in zip(hypotheses, references)]

    def signature(self, target_lang):
        return "exact match in %"
"""
_LENGTH = """
from stc.metrics.metric import SentenceMetric
from stc.system.subprocess_json import run_json

COUNTED = (
    "import json, sys; pairs = json.load(sys.stdin)['pairs'];"
    "print(json.dumps([abs(len(one) - len(other)) / 3 for one, other in pairs]))"
)


class Length(SentenceMetric):
    title = "length error"
    lower_is_better = True
    needs_source = True

    def scores(self, hypotheses, references, sources, target_lang):
        return run_json("counting", ["-c", COUNTED], {"pairs": list(zip(hypotheses, sources))}, python=PYTHON)

    def signature(self, target_lang):
        return "a third of a character"
"""


def add_own_metrics(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the two where Python looks. The second is computed by the Python that this environment was made from."""
    lab = folder / "lab"
    lab.mkdir()
    (lab / "exact.py").write_text(_EXACT)
    (lab / "length.py").write_text(f"PYTHON = {os.path.realpath(sys.executable)!r}\n{_LENGTH}")
    (lab / "nothing.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))

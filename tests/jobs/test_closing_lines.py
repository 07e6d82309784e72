"""The last lines of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from stc.jobs.closing_lines import left_out_lines
from stc.pipeline.runner import NodeResult
from stc.store.artifact import Artifact, Kind


def result(kind: Kind, **facts: int) -> NodeResult:
    return NodeResult("train", Artifact(kind, Path(), "0" * 20, facts), cached=True, seconds=0.0)


@pytest.mark.parametrize("fact", ["left_out", "cut", "dropped"])
def test_utterances_that_a_data_set_lacks_or_has_in_parts_are_told_also_if_it_was_cached(fact: str) -> None:
    (line,) = left_out_lines([result(Kind.MANIFEST, utterances=9, **{fact: 12})])
    assert line.startswith("train: 12 utterances")


def test_nothing_is_told_of_a_whole_data_set_or_of_another_result() -> None:
    assert not [*left_out_lines([result(Kind.MANIFEST, utterances=9, dropped=0), result(Kind.MODEL, cut=3)])]

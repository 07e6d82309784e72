"""A run says what it does in plain words; why, and with which hashes, is in its log, and on the console if asked."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import stages_begun

from stc.jobs.step_lines import StepLines
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store import Store
from stc.store.artifact import Kind


class SmoothWeights(Stage):
    """A stage that says nothing of what it does."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MODEL

    label: str

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (out_dir / "text").write_text(self.label)
        return {}


class Told(SmoothWeights):
    def activity(self, inputs: Inputs) -> str:
        return f"following {Path(inputs['model'].path, 'text').read_text()}"


def chain(*names: str) -> Pipeline:
    nodes = {}
    for before, name in zip([None, *names], names, strict=False):
        stage = Told(label=name) if before else SmoothWeights(label=name)
        nodes[name] = Node(name, Kind.MODEL, "told", stage, {"model": before} if before else {})
    return Pipeline(nodes, [names[-1]])


def make(pipeline: Pipeline, folder: Path, ctx: Context, *, verbose: bool = False, force: tuple[str, ...] = ()) -> None:
    lines = StepLines(pipeline, verbose=verbose)
    Evaluation(pipeline, Store(folder / "store"), lambda name, scratch: ctx, begin=lines.begin, force=force).run(
        lines.found
    )
    lines.report_cached()


NAMES = ("base", "round.1", "round.2", "last")


def test_each_stage_has_its_number_and_its_words(
    tmp_path: Path, ctx: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    make(chain(*NAMES), tmp_path, ctx)
    said = capsys.readouterr().err
    assert stages_begun(said) == list(NAMES)
    assert [line[:5] for line in said.splitlines()] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert [line.split("  ")[-1] for line in said.splitlines()] == [
        "smooth weights → model", "following base", "following round.1", "following round.2",
    ]  # fmt: skip


def test_results_in_the_store_are_named_on_one_line(
    tmp_path: Path, ctx: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = chain(*NAMES)
    make(pipeline, tmp_path, ctx)
    capsys.readouterr()
    make(pipeline, tmp_path, ctx, force=("round.2",))
    cached, *made = capsys.readouterr().err.splitlines()
    assert cached == "[2/4] cached: round 1 of 2"  # what that was made from is not looked at
    assert stages_begun("\n".join(made)) == ["round.2", "last"]
    make(pipeline, tmp_path, ctx)
    assert capsys.readouterr().err == "[4/4] cached: last\n"


@pytest.mark.parametrize("verbose", [False, True])
def test_reasons_and_hashes_are_in_the_log_and_on_the_console_if_asked_for(
    verbose: bool, tmp_path: Path, ctx: Context, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="stc")
    make(chain("base", "last"), tmp_path, ctx, verbose=verbose)
    said = capsys.readouterr().err
    records = [json.loads(file.read_text()) for file in tmp_path.glob("store/model/*/stc.record.json")]
    assert len(records) == 2
    for record in records:
        assert record["identity"][:8] in caplog.text
        assert (record["identity"][:8] in said) == verbose

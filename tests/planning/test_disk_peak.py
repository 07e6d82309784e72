"""The disk that a plan says ``store.keep=final`` takes is what a run then takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from stc.config.composition import ComposedJob
from stc.models.layout import FeatureSize
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.planning.planned_jobs import bytes_to_write, peak_bytes_to_write, plan_jobs
from stc.store import Store
from stc.store.artifact import Kind

TAKEN: list[int] = []
"""The bytes of the models in the store, with that being made, at the end of each stage that made one."""


class Sized(Stage):
    """A model of so many bytes."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL, optional=True),
        "ranking": StageInput(Kind.RANKING, by=("order",), optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.MODEL

    label: str
    size: int

    def forecast(self, inputs: Mapping[str, Any]) -> FeatureSize:
        return FeatureSize(self.size)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (out_dir / "weights").write_bytes(bytes(self.size))
        TAKEN.append(sum(file.stat().st_size for file in out_dir.parents[3].rglob("weights")))
        return {}


class Rank(Sized):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}
    GIVES: ClassVar[Kind] = Kind.RANKING

    def forecast(self, inputs: Mapping[str, Any]) -> None:  # type: ignore[override]
        return None

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        return {"order": [3]}


def node(label: str, size: int = 1, stage: type[Sized] = Sized, **inputs: Any) -> Node:
    return Node(label, stage.GIVES, "sized", stage(label=label, size=size), inputs)


def job(size: int, store: Path) -> ComposedJob:
    """A teacher that is searched and pruned, and healed to this size, beside a control with features of its own."""
    nodes = [
        node("teacher", 1000),
        node("control", 800, model="teacher"),
        node("control_ranked", stage=Rank, model="control"),
        node("ranking", stage=Rank, model="teacher"),
        node("pruned", 600, model="teacher", ranking="ranking"),
        node("healed", size, model="pruned"),
    ]
    resources = SimpleNamespace(device="cpu", processes=1, context=lambda device: None)
    config = SimpleNamespace(seeds=(), resources=resources, store=SimpleNamespace(dir=store), force=())
    pipeline = Pipeline({one.name: one for one in nodes}, ["control_ranked", "healed"])
    return ComposedJob([], cast("Any", None), cast("Any", SimpleNamespace(pipeline=pipeline, config=config)))


def test_the_peak_of_a_plan_is_that_of_the_run(tmp_path: Path, ctx: Context) -> None:
    TAKEN.clear()
    one = job(500, tmp_path / "store")
    planned = plan_jobs([one])
    context = lambda name, scratch: replace(ctx, scratch=scratch)  # noqa: E731
    Evaluation(one.plan.pipeline, Store(tmp_path / "store"), context, keep="final").run()
    assert peak_bytes_to_write(planned) == max(TAKEN) == 1800
    assert bytes_to_write(planned) == 2900


def test_in_a_sweep_what_jobs_share_counts_until_the_last_of_them_has_used_it(tmp_path: Path) -> None:
    """The pruned model is shared; the first job's final model stays."""
    assert peak_bytes_to_write(plan_jobs([job(size, tmp_path / "store") for size in (500, 900)])) == 600 + 500 + 900
    assert peak_bytes_to_write(plan_jobs([job(size, tmp_path / "store") for size in (900, 100)])) == 1000 + 800

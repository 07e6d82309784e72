"""Several processes and one pipeline: each stage is made once, and nobody waits who could do something."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import at_once, await_note, ended, note, noted, send, until, working

from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store import Store
from stc.store.artifact import Kind


class Step(Stage):
    """Notes that it runs; with a ``gate`` it then waits until that file is there."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"models": StageInput(Kind.MODEL, many=True)}
    GIVES: ClassVar[Kind] = Kind.MODEL
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"log", "gate"})

    label: str
    log: Path
    gate: Path | None = None

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        note(self.log, self.label)
        if self.gate:
            until(self.gate.exists, self.gate.name)
        (out_dir / "text").write_text(self.label)
        return {"removed": [1, 3]}


class Check(Step):
    GIVES: ClassVar[Kind] = Kind.CHECK


class Rank(Step):
    GIVES: ClassVar[Kind] = Kind.RANKING


class Cut(Step):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"ranking": StageInput(Kind.RANKING, by=("removed",))}


class Workers:
    """Makes nodes, and evaluations of them by processes that come one after the other, as ``jobs``."""

    def __init__(self, root: Path, context: Context) -> None:
        self.root = root
        self.log = root / "log"
        self.said = root / "said"
        self._context = context

    def node(self, name: str, *models: str, cls: type[Step] = Step, gate: bool = False, ranking: str = "") -> Node:
        stage = cls(label=name, log=self.log, gate=self.root / f"{name}.gate" if gate else None)
        inputs: Mapping[str, Any] = {"ranking": ranking} if ranking else {"models": {one: one for one in models}}
        return Node(name, stage.GIVES, cls.__name__.lower(), stage, inputs)

    def evaluate(self, nodes: Iterable[Node], *outputs: str, force: Sequence[str] = ()) -> list[NodeResult]:
        return Evaluation(
            Pipeline({one.name: one for one in nodes}, outputs),
            Store(self.root / "store", lease_seconds=0.5),
            lambda name, scratch: replace(self._context, scratch=scratch),
            force=force,
            begin=lambda node, activity, reason: note(self.said, reason),
            announce=lambda line: note(self.said, line),
        ).run()

    def open(self, name: str) -> None:
        (self.root / f"{name}.gate").touch()

    def ran(self) -> list[str]:
        return noted(self.log)

    def left(self) -> list[Path]:
        store = self.root / "store"
        return [file for hidden in (".building", ".scratch") for file in (store / hidden).rglob("*") if file.is_file()]


@pytest.fixture
def workers(tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr("stc.pipeline.runner._POLL_SECONDS", 0.1)
    return Workers(tmp_path, ctx)


def test_each_stage_is_made_once_by_eight_processes(workers: Workers) -> None:
    layers = [["a0", "a1", "a2"], ["b0", "b1", "b2"], ["c0", "c1", "c2"]]
    nodes = [workers.node(name) for name in layers[0]]
    for below, layer in pairwise(layers):
        nodes += [workers.node(name, *below) for name in layer]
    nodes.append(workers.node("all", *layers[-1]))

    def job() -> None:
        assert [one.artifact.path.exists() for one in workers.evaluate(nodes, "all")] == [True] * 10

    at_once(8, job)
    assert sorted(workers.ran()) == sorted(node.name for node in nodes)
    assert not workers.left()


def test_others_go_on_with_other_work(workers: Workers) -> None:
    nodes = [workers.node("slow", gate=True), workers.node("a"), workers.node("b", "a")]
    nodes.append(workers.node("all", "slow", "b"))
    with working(*[lambda: workers.evaluate(nodes, "all")] * 2) as processes:
        await_note(workers.log, "b")  # while the gate of the slow one is shut
        workers.open("slow")
        ended(*processes)
    assert sorted(workers.ran()) == ["a", "all", "b", "slow"]


def test_others_go_on_while_the_fact_is_found_out_that_identifies_all_the_rest(workers: Workers) -> None:
    nodes = [workers.node("control"), workers.node("rank", cls=Rank, gate=True)]
    nodes += [workers.node("cut", cls=Cut, ranking="rank"), workers.node("all", "cut", "control")]
    with working(*[lambda: workers.evaluate(nodes, "all")] * 2) as processes:
        await_note(workers.log, "control")
        workers.open("rank")
        ended(*processes)
    assert sorted(workers.ran()) == ["all", "control", "cut", "rank"]


def test_nothing_is_made_before_a_check_that_another_is_at(workers: Workers) -> None:
    nodes = [workers.node("disjoint", cls=Check, gate=True), workers.node("a")]
    with working(*[lambda: workers.evaluate(nodes, "disjoint", "a")] * 2) as processes:
        until(lambda: len(noted(workers.said)) == 2 and workers.ran(), "one to run and the other to wait")
        assert workers.ran() == ["disjoint"]
        workers.open("disjoint")
        ended(*processes)
    assert workers.ran() == ["disjoint", "a"]


def test_who_waits_says_so_once_and_for_whom(workers: Workers) -> None:
    nodes = [workers.node("a", gate=True)]
    with working(lambda: workers.evaluate(nodes, "a")) as (first,):
        await_note(workers.log, "a")
        with working(lambda: workers.evaluate(nodes, "a")) as (second,):
            until(lambda: len(noted(workers.said)) == 2, "the second to wait")
            time.sleep(0.5)  # several looks
            workers.open("a")
            ended(first, second)
    _, waited = noted(workers.said)
    assert waited.endswith(f":{first.pid}, waiting")


def test_who_waits_takes_over_from_one_that_is_killed(workers: Workers) -> None:
    nodes = [workers.node("a", gate=True)]
    with working(lambda: workers.evaluate(nodes, "a")) as (first,):
        await_note(workers.log, "a")
        with working(lambda: workers.evaluate(nodes, "a")) as (second,):
            until(lambda: any("waiting" in line for line in noted(workers.said)), "the second to wait")
            send(first, signal.SIGKILL)
            until(lambda: workers.ran() == ["a", "a"], "the second to take over")
            workers.open("a")
            ended(second)
    assert f":{first.pid}, which no longer answers" in noted(workers.said)[-1]
    assert not workers.left()


def test_who_was_stopped_and_wakes_up_goes_on_with_the_result_of_the_one_that_took_over(workers: Workers) -> None:
    nodes = [workers.node("a", gate=True), workers.node("b", "a")]
    with working(lambda: workers.evaluate(nodes, "b")) as (first,):
        await_note(workers.log, "a")
        send(first, signal.SIGSTOP)
        with working(lambda: workers.evaluate(nodes, "a")) as (second,):
            until(lambda: workers.ran() == ["a", "a"], "the second to take over")
            workers.open("a")
            ended(second)
        send(first, signal.SIGCONT)
        ended(first)
    assert workers.ran() == ["a", "a", "b"]
    assert any("was taken over" in line for line in noted(workers.said))
    assert not workers.left()


class Breaks(Step):
    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        first = not noted(self.log)
        super().run(inputs, out_dir, ctx)
        if first:
            raise RuntimeError("no memory left")
        return {}


def test_who_waits_for_one_that_fails_makes_it_itself(workers: Workers) -> None:
    nodes = [workers.node("a", cls=Breaks, gate=True)]
    with working(*[lambda: workers.evaluate(nodes, "a")] * 2) as processes:
        until(lambda: any("waiting" in line for line in noted(workers.said)), "the second to wait")
        workers.open("a")
        for process in processes:
            process.join()
    assert sorted(process.exitcode or 0 for process in processes) == [0, 1]
    assert workers.ran() == ["a", "a"]


def test_force_by_two_at_once_makes_one_new_generation(workers: Workers) -> None:
    plain = [workers.node("a"), workers.node("b", "a")]
    (before,) = [one.artifact.identity for one in workers.evaluate(plain, "b") if one.name == "b"]
    nodes = [workers.node("a"), workers.node("b", "a", gate=True)]
    with working(*[lambda: workers.evaluate(nodes, "b", force=["b"])] * 2) as processes:
        until(lambda: any("waiting" in line for line in noted(workers.said)), "the second to wait")
        workers.open("b")
        ended(*processes)
    assert workers.ran() == ["a", "b", "b"]
    after = workers.evaluate(plain, "b")
    assert [one.cached for one in after] == [True, True]
    assert before not in [one.artifact.identity for one in after]

"""With ``keep=final``, intermediate models go as soon as nothing needs them, and no run loses what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import until, working

from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.keep import Keep, needs_of
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.needs import live_run

RAN: list[str] = []
FULL: list[set[str]] = []
"""The models in the store when each stage of ``RAN`` began."""


class Model(Stage):
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL, optional=True)}
    GIVES: ClassVar[Kind] = Kind.MODEL

    label: str

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        RAN.append(self.label)
        place = out_dir.parents[3] / "model"
        FULL.append({(one / "text").read_text().split()[-1] for one in place.glob("*")})
        before = (inputs["model"].path / "text").read_text() if "model" in inputs else ""
        (out_dir / "text").write_text(f"{before} {self.label}")
        return {}


class Score(Model):
    GIVES: ClassVar[Kind] = Kind.SCORES


class Table(Model):
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "models": StageInput(Kind.MODEL, many=True, read=False),
        "scores": StageInput(Kind.SCORES, many=True),
    }
    GIVES: ClassVar[Kind] = Kind.COMPARISON


class Interrupted(Model):
    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        raise KeyboardInterrupt


def node(stage: Stage, **inputs: Any) -> Node:
    return Node(stage.label, stage.GIVES, "toy", stage, inputs)  # type: ignore[attr-defined]


def compared(table: str = "table", heal: type[Model] = Model) -> list[Node]:
    """A teacher, from which a control and the main system are healed and packed; each of the three is scored."""
    return [
        node(Model(label="teacher")),
        node(Model(label="control"), model="teacher"),
        node(Model(label="control_packed"), model="control"),
        node(Model(label="pruned"), model="teacher"),
        node(heal(label="healed"), model="pruned"),
        node(Model(label="packed"), model="healed"),
        *(node(Score(label=f"score_{one}"), model=one) for one in ("teacher", "control_packed", "packed")),
        node(
            Table(label=table),
            models={"a": "teacher", "b": "control_packed", "c": "packed"},
            scores={"a": "score_teacher", "b": "score_control_packed", "c": "score_packed"},
        ),
    ]


Run = Callable[..., list[NodeResult]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def run(store: Store, ctx: Context) -> Run:
    def evaluated(nodes: Iterable[Node], *outputs: str, keep: Keep = "final") -> list[NodeResult]:
        RAN.clear()
        FULL.clear()
        graph = Pipeline({one.name: one for one in nodes}, outputs)
        context = lambda name, scratch: replace(ctx, scratch=scratch)  # noqa: E731
        return Evaluation(graph, Store(store.root), context, keep=keep).run()

    return evaluated


def models(store: Store) -> set[str]:
    places = (store.path(Kind.MODEL, identity) for identity in store.identities(Kind.MODEL))
    return {(one / "text").read_text().split()[-1] for one in places}


def test_of_the_models_the_last_one_compared_is_left_and_the_results_are_those_of_a_run_that_keeps_all(
    run: Run, store: Store, ctx: Context, tmp_path: Path
) -> None:
    dropping = run(compared(), "table")
    assert models(store) == {"packed"}
    graph = Pipeline({one.name: one for one in compared()}, ["table"])
    keeping = Evaluation(graph, Store(tmp_path / "all"), lambda name, scratch: replace(ctx, scratch=scratch)).run()
    assert [(one.name, one.artifact.identity) for one in dropping] == [
        (one.name, one.artifact.identity) for one in keeping
    ]
    assert len(models(Store(tmp_path / "all"))) == 6


def test_a_model_is_there_while_something_needs_it_and_no_longer(run: Run) -> None:
    run(compared(), "table")
    assert dict(zip(RAN, FULL, strict=True)) == {
        "teacher": set(),
        "score_teacher": {"teacher"},
        "control": {"teacher"},
        "control_packed": {"teacher", "control"},
        "score_control_packed": {"teacher", "control_packed"},
        "pruned": {"teacher"},
        "healed": {"pruned"},
        "packed": {"healed"},
        "score_packed": {"packed"},
        "table": {"packed"},
    }


def test_an_output_is_kept_wherever_it_is_on_the_way(run: Run, store: Store) -> None:
    run(compared(), "table", "healed")
    assert models(store) == {"packed", "healed"}


def test_a_run_that_was_interrupted_makes_nothing_again_that_it_has_dropped(run: Run, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(compared(heal=Interrupted), "table")
    assert models(store) == {"pruned"}
    run(compared(), "table")
    assert RAN == ["healed", "packed", "score_packed", "table"]
    assert models(store) == {"packed"}


def test_a_finished_run_is_cached_and_another_table_needs_no_model(run: Run) -> None:
    run(compared(), "table")
    run(compared(), "table")
    assert RAN == []
    run(compared("another"), "another")
    assert RAN == ["another"]


def test_what_a_run_that_keeps_all_has_made_stays(run: Run, store: Store) -> None:
    run(compared(), "score_control_packed", keep="all")
    run(compared(), "table")
    assert models(store) == {"teacher", "control", "control_packed", "packed"}


def test_a_dropped_model_is_made_again_for_a_run_that_needs_it(run: Run, store: Store) -> None:
    run(compared(), "table")
    run([*compared(), node(Score(label="later"), model="control")], "later")
    assert RAN == ["teacher", "control", "later"]


def test_a_model_that_is_lost_while_others_are_made_is_made_again(run: Run, store: Store) -> None:
    class Evicts(Model):
        def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
            [identity] = store.identities(Kind.MODEL)
            store.evict(Kind.MODEL, identity)
            return super().run(inputs, out_dir, ctx)

    class Both(Model):
        TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "other": StageInput(Kind.MODEL)}

    found = [node(Model(label="one")), node(Evicts(label="two")), node(Both(label="both"), model="one", other="two")]
    run(found, "both", keep="all")
    assert RAN == ["one", "two", "one", "both"]


def hold(root: Path, nodes: Sequence[Node], output: str, ready: Path, release: Path) -> None:
    """Be another run, which needs what leads to an output, until ``release`` is there."""
    store = Store(root, lease_seconds=0.5)
    graph = Pipeline({one.name: one for one in nodes}, [output])
    planned = Evaluation(graph, store, lambda name, scratch: None)  # type: ignore[arg-type, return-value]
    identities = {name: planned.artifact(name).identity for name in graph.required_nodes()}
    with live_run(store) as live:
        live.tell(needs_of(graph, identities, "final"))
        ready.touch()
        until(release.exists, release.name, 60)


@pytest.fixture
def other_needs(store: Store, tmp_path: Path) -> Callable[[], None]:
    later = [*compared(), node(Score(label="later"), model="control")]
    return lambda: hold(store.root, later, "later", tmp_path / "ready", tmp_path / "release")


def test_what_another_run_at_work_needs_is_not_dropped_before_that_has_ended(
    run: Run, store: Store, tmp_path: Path, other_needs: Callable[[], None]
) -> None:
    with working(other_needs) as [process]:
        until((tmp_path / "ready").exists, "ready")
        run(compared(), "table")
        assert models(store) == {"control", "packed"}
        (tmp_path / "release").touch()
        process.join()
        run(compared(), "table")
    assert models(store) == {"packed"}


def test_a_run_that_was_killed_needs_nothing(
    run: Run, store: Store, tmp_path: Path, other_needs: Callable[[], None]
) -> None:
    with working(other_needs) as [process]:
        until((tmp_path / "ready").exists, "ready")
        process.kill()
        process.join()
        run(compared(), "table")
    assert models(store) == {"packed"}

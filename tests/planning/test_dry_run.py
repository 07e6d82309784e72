"""What a plan says of each node is what an evaluation then does with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stc.models.hub import HubModel
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.planning.dry_run import DryRun, PlannedStep, StepState
from stc.store import Store
from stc.store.artifact import Kind


class Source(Stage):
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.MODEL

    label: str

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (out_dir / "text").write_text(self.label)
        return {}


class Follow(Source):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}


class Rank(Source):
    """Removes the layers it is told to, whatever model it is given."""

    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}
    GIVES: ClassVar[Kind] = Kind.RANKING

    removes: tuple[int, ...]

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (out_dir / "ranking.json").write_text(json.dumps(self.removes))
        return {"layers_removed": list(self.removes)}


class Cut(Source):
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "ranking": StageInput(Kind.RANKING, by=("layers_removed",)),
    }


def node(name: str, stage: Stage, **inputs: Any) -> Node:
    return Node(name, type(stage).GIVES, type(stage).__name__.lower(), stage, inputs)


def pruning(removes: tuple[int, ...] = (1, 2), healed: str = "healed") -> list[Node]:
    return [
        node("teacher", Source(label="teacher")),
        node("search", Rank(label="search", removes=removes), model="teacher"),
        node("cut", Cut(label="cut"), model="teacher", ranking="search"),
        node("heal", Follow(label=healed), model="cut"),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def pipeline(nodes: Iterable[Node]) -> Pipeline:
    return Pipeline({one.name: one for one in nodes}, ["heal"])


def evaluated(nodes: Iterable[Node], store: Store, ctx: Context, *force: str) -> dict[str, str]:
    done = Evaluation(pipeline(nodes), store, lambda name, scratch: ctx, force=force).run()
    return {one.name: one.artifact.identity for one in done}


def dry_run(nodes: Iterable[Node], store: Store, ctx: Context, *force: str) -> dict[str, PlannedStep]:
    planned = DryRun(pipeline(nodes), store, ctx, force=force)
    return {step.name: step for step in planned.steps()}


def states(steps: Mapping[str, PlannedStep]) -> dict[str, str]:
    return {name: step.state.value for name, step in steps.items()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_is_to_run_in_a_store_that_is_not_there_and_it_is_not_made(store: Store, ctx: Context) -> None:
    assert set(states(dry_run(pruning(), store, ctx)).values()) == {"run"}
    assert not store.root.exists()


def test_identity_is_that_of_the_run_and_provisional_after_a_search_that_is_to_run(store: Store, ctx: Context) -> None:
    before = dry_run(pruning(), store, ctx)
    made = evaluated(pruning(), store, ctx)
    assert {name: step.after for name, step in before.items() if step.after} == {"cut": "search", "heal": "search"}
    for name in ("teacher", "search"):
        assert before[name].identity == made[name]
    after = dry_run(pruning(healed="anew"), store, ctx)
    assert (after["cut"].identity, after["cut"].after) == (made["cut"], None)


def test_what_rests_on_a_result_that_is_there_is_not_needed(store: Store, ctx: Context) -> None:
    evaluated(pruning(), store, ctx)
    found = dry_run(pruning(), store, ctx)
    assert states(found) == {"teacher": "not needed", "search": "cached", "cut": "not needed", "heal": "cached"}


def test_only_what_a_changed_setting_changes_is_to_run_and_the_field_is_named(store: Store, ctx: Context) -> None:
    evaluated(pruning(), store, ctx)
    found = dry_run(pruning(healed="anew"), store, ctx)
    assert states(found) == {"teacher": "not needed", "search": "cached", "cut": "cached", "heal": "run"}
    assert "config.label healed → anew" in found["heal"].why


def test_looking_changes_nothing_in_the_store_damaged_results_included(store: Store, ctx: Context) -> None:
    made = evaluated(pruning(), store, ctx)
    store.path(Kind.MODEL, made["heal"]).joinpath("text").write_text("edited")
    before = tree(store.root)
    found = dry_run(pruning(), store, ctx)
    assert (found["heal"].state, found["heal"].why.startswith("damaged: text")) == (StepState.RUN, True)
    assert {name for name, content in tree(store.root).items() if before.get(name) != content} <= {
        str(store.root / "hashes.json")
    }


def test_forced_stage_and_what_follows_are_to_run(store: Store, ctx: Context) -> None:
    evaluated(pruning(), store, ctx)
    found = dry_run(pruning(), store, ctx, "cut")
    assert states(found) == {"teacher": "cached", "search": "cached", "cut": "run", "heal": "run"}
    assert found["cut"].why == "forced"
    assert evaluated(pruning(), store, ctx, "cut")["heal"] == found["heal"].identity


def test_two_jobs_that_go_on_from_one_search_to_come_have_one_identity(store: Store, ctx: Context) -> None:
    first, second = dry_run(pruning(), store, ctx), dry_run(pruning(healed="anew"), store, ctx)
    assert first["cut"].identity == second["cut"].identity
    assert first["heal"].identity != second["heal"].identity
    other = dry_run(pruning(removes=(1, 3)), store, ctx)
    assert other["cut"].identity != first["cut"].identity


def test_model_of_the_hub_that_is_not_here_is_not_fetched(
    store: Store, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubModel, "cached", lambda hub: None)
    monkeypatch.setattr(HubModel, "fetch", lambda hub, check: pytest.fail("fetched"))
    nodes = [
        Node("base", Kind.MODEL, "from", source=HubModel("some/model")),
        node("heal", Follow(label="h"), model="base"),
    ]
    found = dry_run(nodes, store, ctx)
    assert (found["base"].state, found["heal"].state, found["heal"].after) == (StepState.FETCH, StepState.RUN, "base")


def test_folder_that_stands_in_is_given_by_its_content(
    store: Store, ctx: Context, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "text").write_text("given")
    nodes = [Node("base", Kind.MODEL, "from", source=folder), node("heal", Follow(label="h"), model="base")]
    assert dry_run(nodes, store, ctx)["base"].state is StepState.GIVEN
    made = evaluated(nodes, store, ctx)
    assert dry_run(nodes, store, ctx)["heal"].identity == made["heal"]


def test_evicted_result_is_to_run_where_it_is_needed_and_nowhere_else(store: Store, ctx: Context) -> None:
    made = evaluated(pruning(), store, ctx)
    for name in ("teacher", "cut"):
        store.evict(Kind.MODEL, made[name])
    assert dry_run(pruning(), store, ctx)["heal"].state is StepState.CACHED
    assert evaluated(pruning(), store, ctx) == made
    assert not store.path(Kind.MODEL, made["cut"]).exists()
    found = dry_run(pruning(healed="anew"), store, ctx)
    assert states(found) == {"teacher": "run", "search": "cached", "cut": "run", "heal": "run"}
    assert found["cut"].why.startswith("evicted on ")
    again = evaluated(pruning(healed="anew"), store, ctx)
    assert {name: again[name] for name in ("teacher", "cut")} == {name: made[name] for name in ("teacher", "cut")}
    assert store.path(Kind.MODEL, made["cut"]).exists()

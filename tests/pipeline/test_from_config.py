"""What is written under ``stages`` becomes nodes: copies, chains and stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphs import nodes

from stc.errors import ConfigError, Fault
from stc.models.hub import HubModel
from stc.pipeline.from_config import nodes_named
from stc.store.artifact import Kind

IMPORTANCE: dict[str, Any] = {
    "stage": "importance", "metric": "chrf", "dtype": "float32", "max_new_tokens": 4, "chain": 3,
    "inputs": {"model": "base", "data": "selection"},
}  # fmt: skip


def test_folder_stands_in_for_a_stage_under_its_name(tmp_path: Path) -> None:
    (node,) = nodes({"teacher": {"stage": "prune", "from": str(tmp_path)}}).values()
    assert (node.name, node.kind, node.stage, node.source) == ("teacher", Kind.MODEL, None, tmp_path)


def test_stand_in_of_a_chain_is_what_others_mean_by_the_chain(tmp_path: Path) -> None:
    graph = nodes({"importance": {**IMPORTANCE, "from": str(tmp_path)}})
    assert [(name, node.kind) for name, node in graph.items()] == [("importance.3", Kind.RANKING)]


def test_folder_without_a_stage_needs_a_kind(tmp_path: Path) -> None:
    assert nodes({"base": {"from": str(tmp_path), "kind": "model"}})["base"].kind is Kind.MODEL
    with pytest.raises(ConfigError, match="and its kind, is needed"):
        nodes({"base": {"from": str(tmp_path), "kind": "modell"}})


def test_hub_id_is_no_folder_here() -> None:
    assert nodes({"base": {"from": "owner/name", "kind": "model"}})["base"].source == HubModel("owner/name")


def test_links_of_a_chain_are_fed_the_one_before() -> None:
    graph = nodes({"importance": IMPORTANCE})
    assert [node.inputs.get("previous") for node in graph.values()] == [None, "importance.1", "importance.2"]
    assert nodes_named("importance", graph) == ["importance.1", "importance.2", "importance.3"]


def test_copy_of_a_chain_is_a_chain_and_meant_by_its_last_link() -> None:
    prune = {"stage": "prune", "dtype": "float32", "inputs": {"model": "base", "ranking": "again"}}
    graph = nodes({"importance": IMPORTANCE, "again": {"like": "importance", "metric": "chrf_pp"}, "prune": prune})
    assert graph["prune"].inputs["ranking"] == "again.3"
    assert nodes_named("again", graph) == ["again.1", "again.2", "again.3"]


RECIPE: dict[str, Any] = {
    "method": "qlora", "parts": ["decoder"], "epochs": 4, "batch_size": 4, "learning_rate": 1e-4, "schedule": "cosine",
    "warmup_steps": 0, "weight_decay": 0.0, "beta2": 0.999, "max_grad_norm": 1.0, "label_smoothing": 0.0,
    "precision": "float32", "seed": 0, "lora": {"r": 64, "alpha": 128, "rslora": True, "dropout": 0.0},
}  # fmt: skip
HEAL: dict[str, Any] = {"stage": "finetune", "inputs": {"model": "base", "train": "train"}, "settings": RECIPE}


def fields(entry: dict[str, Any]) -> dict[str, Any]:
    stage = nodes({"heal": entry})["heal"].stage
    assert stage is not None
    return stage.model_dump()


def faults(entry: dict[str, Any]) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        nodes({"heal": entry})
    return caught.value.faults


def test_null_input_is_left_out() -> None:
    entry = {**HEAL, "inputs": {"model": "base", "train": "train", "dev": None}}
    assert dict(nodes({"heal": entry})["heal"].inputs) == {"model": "base", "train": "train"}


def test_unused_input_is_not_wired() -> None:
    plain = {**RECIPE, "method": "full", "lora": None}
    for settings, read in ((plain, True), ({**plain, "parts": ["encoder"]}, False), (RECIPE, False)):
        entry = {**HEAL, "settings": settings, "inputs": {**HEAL["inputs"], "features": "heard"}}
        inputs = nodes({"heal": entry, "again": {"like": "heal"}})["again"].inputs
        assert ("features" in inputs) == read


def test_settings_are_fields_and_own_keys_go_over_them() -> None:
    assert fields(HEAL)["epochs"] == 4
    changed = fields({**HEAL, "epochs": 2, "lora": {"r": 8}})
    assert (changed["epochs"], changed["lora"]) == (2, {"r": 8, "alpha": 128, "rslora": True, "dropout": 0.0})


def test_copy_takes_settings_and_what_goes_over_them() -> None:
    copied = nodes({"heal": {**HEAL, "epochs": 2}, "heal_unpruned": {"like": "heal"}})["heal_unpruned"].stage
    assert copied is not None
    assert copied.model_dump() == fields({**HEAL, "epochs": 2})


def test_unknown_field_gives_the_same_fault_in_settings_and_beside_them() -> None:
    told = [faults({**HEAL, "epoch": 2}), faults({**HEAL, "settings": {**RECIPE, "epoch": 2}})]
    assert told[0] == told[1]
    assert (told[0][0].key, "did you mean 'epochs'" in told[0][0].allowed) == ("stages.heal.epoch", True)


def test_settings_must_be_a_mapping() -> None:
    assert [fault.key for fault in faults({**HEAL, "settings": 2})] == ["stages.heal.settings"]


COMPARE: dict[str, Any] = {
    "stage": "compare", "metric": "chrf", "resamples": 100, "confidence": 0.95, "seed": 0, "labels": ["one", "two"],
    "inputs": {"scores": ["a", "b"], "measurements": ["c", "d"], "models": {"one": "e", "two": "f"}},
}  # fmt: skip


def test_list_of_an_input_is_labelled_in_order() -> None:
    inputs = nodes({"compare": COMPARE})["compare"].inputs
    assert inputs == {
        "scores": {"one": "a", "two": "b"}, "measurements": {"one": "c", "two": "d"}, "models": {"one": "e", "two": "f"}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "key"),
    [(None, "labels"), (["one", "one"], "labels"), ("one", "labels"), (["one"], "inputs.scores")],
    ids=["none", "one twice", "no list", "too few"],
)
def test_list_must_fit_the_labels(labels: Any, key: str) -> None:
    assert faults({**COMPARE, "labels": labels})[0].key == f"stages.heal.{key}"


PRUNE: dict[str, Any] = {"stage": "prune", "dtype": "float32", "inputs": {"model": "teacher", "ranking": "importance"}}
ROUNDS: dict[str, dict[str, Any]] = {
    "importance": {**IMPORTANCE, "chain": 5, "inputs": {"model": "teacher", "data": "selection"},
                   "then": {"model": "between"}},
    "prune": {**PRUNE, "chain": 5, "every": 2, "then": {"model": "between"}},
    "between": {**HEAL, "chain": 5, "every": 2, "inputs": {"model": "prune", "train": "train"}},
    "heal": {**HEAL, "inputs": {"model": "prune", "train": "train"}},
}  # fmt: skip


def test_chains_that_take_turns_are_fed_by_the_latest_links_of_others() -> None:
    graph = nodes(ROUNDS)
    assert [graph[f"importance.{n}"].inputs["model"] for n in range(1, 6)] == [
        "teacher", "teacher", "between.1", "between.1", "between.2"
    ]  # fmt: skip
    assert [dict(graph[f"prune.{n}"].inputs) for n in (1, 2, 3)] == [
        {"model": "teacher", "ranking": "importance.2"},
        {"model": "between.1", "ranking": "importance.4"},
        {"model": "between.2", "ranking": "importance.5"},
    ]
    assert [graph[f"between.{n}"].inputs["model"] for n in (1, 2, 3)] == ["prune.1", "prune.2", "prune.3"]
    assert graph["heal"].inputs["model"] == "prune.3"


def test_chain_of_a_stage_that_takes_no_previous_one_is_not_fed_it() -> None:
    assert all("previous" not in nodes(ROUNDS)[f"prune.{n}"].inputs for n in (1, 2, 3))


def test_folder_in_the_place_of_a_chain_is_used_at_every_step(tmp_path: Path) -> None:
    graph = nodes({**ROUNDS, "importance": {**ROUNDS["importance"], "from": str(tmp_path)}})
    assert {graph[f"prune.{n}"].inputs["ranking"] for n in (1, 2, 3)} == {"importance.5"}


@pytest.mark.parametrize("key", ["chain", "every", "then"])
def test_chain_of_the_wrong_form_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nodes({**ROUNDS, "prune": {**ROUNDS["prune"], key: "often"}})
    assert [fault.key for fault in caught.value.faults] == [f"stages.prune.{key}"]

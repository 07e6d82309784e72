"""What is written under ``stages`` becomes nodes: copies, chains and stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stc.errors import ConfigError
from stc.graph import links, nodes
from stc.pipeline import Hub
from stc.stage import Kind

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


def test_folder_without_a_stage_says_its_kind(tmp_path: Path) -> None:
    assert nodes({"base": {"from": str(tmp_path), "kind": "model"}})["base"].kind is Kind.MODEL
    with pytest.raises(ConfigError, match="and its kind, is needed"):
        nodes({"base": {"from": str(tmp_path), "kind": "modell"}})


def test_hub_id_is_no_folder_here() -> None:
    assert nodes({"base": {"from": "owner/name", "kind": "model"}})["base"].source == Hub("owner/name")


def test_links_of_a_chain_are_fed_the_one_before() -> None:
    graph = nodes({"importance": IMPORTANCE})
    assert [node.inputs.get("previous") for node in graph.values()] == [None, "importance.1", "importance.2"]
    assert links("importance", graph) == ["importance.1", "importance.2", "importance.3"]


def test_copy_of_a_chain_is_a_chain_and_meant_by_its_last_link() -> None:
    prune = {"stage": "prune", "dtype": "float32", "inputs": {"model": "base", "ranking": "again"}}
    graph = nodes({"importance": IMPORTANCE, "again": {"like": "importance", "metric": "chrf_pp"}, "prune": prune})
    assert graph["prune"].inputs["ranking"] == "again.3"
    assert links("again", graph) == ["again.1", "again.2", "again.3"]

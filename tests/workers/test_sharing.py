"""A stage gives the same result with several processes as with one, on the CPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from recipes import RECIPE, lora
from safetensors.torch import load_file

from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind

SEARCH = Importance(metric="chrf", scope="both", dtype="float32", max_new_tokens=8)
LORA = lora(dropout=0.0)


@pytest.fixture
def inputs(planted_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, planted_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


class Interrupted(Exception):
    """Stands in for the death of the process that started the workers."""


def fresh(ctx: Context, folder: Path, processes: int) -> Context:
    folder.mkdir()
    return replace(ctx, scratch=folder, processes=processes)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stc.workers.launch.launch", forked.launch)


def test_a_search_in_torchrun_processes_gives_the_ranking_of_one(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    rankings = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}"
        out.mkdir()
        SEARCH.run(inputs, out, fresh(ctx, tmp_path / f"scratch {processes}", processes))
        rankings.append((out / "ranking.json").read_text())
    assert rankings[0] == rankings[1]


@pytest.mark.usefixtures("quickly")
def test_a_search_by_two_processes_is_continued_by_three_and_gives_the_ranking_of_one(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    for name in ("alone", "died", "resumed"):
        (tmp_path / name).mkdir()
    facts = SEARCH.run(inputs, tmp_path / "alone", fresh(ctx, tmp_path / "one", 1))
    logged: list[Any] = []

    def log(metrics: Mapping[str, float], step: int | None = None) -> None:
        logged.append(metrics)
        if len(logged) == 4:
            raise Interrupted

    two = fresh(ctx, tmp_path / "several", 2)
    with pytest.raises(Interrupted):
        SEARCH.run(inputs, tmp_path / "died", replace(two, log=log))
    journal = two.scratch / "candidates.jsonl"
    kept = [json.loads(line) for line in journal.read_text().strip().splitlines()]
    assert len(kept) == 3
    assert SEARCH.run(inputs, tmp_path / "resumed", replace(two, processes=3)) == facts
    assert json.loads(journal.read_text().strip().splitlines()[0]) == kept[0]
    alone, resumed = ((tmp_path / name / "ranking.json").read_text() for name in ("alone", "resumed"))
    assert resumed == alone  # the score of every candidate among it


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("fields", "recomputed"), [(LORA, False), ({}, True)])
def test_fine_tuning_by_two_processes_gives_the_model_of_one(
    fields: dict[str, Any], recomputed: bool, inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    stage = Finetune(**RECIPE | fields)
    ctx = replace(ctx, gradient_checkpointing=recomputed)
    given = {"model": inputs["model"], "train": inputs["data"], "dev": inputs["data"]}
    found = {}
    for processes, name in ((1, "one"), (2, "two")):
        out = tmp_path / name
        out.mkdir()
        facts = stage.run(given, out, fresh(ctx, tmp_path / f"scratch {name}", processes))
        found[name] = facts, load_file(out / "model.safetensors")
    (facts, alone), (same_facts, shared) = found["one"], found["two"]
    assert same_facts["train_loss"] == pytest.approx(facts["train_loss"], rel=1e-4)
    assert same_facts == pytest.approx(facts, rel=1e-2)
    for key, one in alone.items():
        torch.testing.assert_close(shared[key], one, rtol=2**-7, atol=1e-4)  # they are saved in bfloat16

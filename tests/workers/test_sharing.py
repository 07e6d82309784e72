"""A stage gives the run what it gives by itself when torchrun's processes share its work, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recipes import RECIPE, lora
from safetensors.torch import load_file

from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind


@pytest.fixture
def inputs(planted_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, planted_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def fresh(ctx: Context, folder: Path, processes: int) -> Context:
    folder.mkdir()
    return replace(ctx, scratch=folder, processes=processes)


def test_a_search_by_two_processes_goes_on_from_the_scores_there_are_to_the_ranking_of_one(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    stage = Importance(metric="chrf", scope="both", dtype="float32", max_new_tokens=8)
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    one, two = (fresh(ctx, tmp_path / name, processes) for name, processes in (("one", 1), ("two", 2)))
    facts = stage.run(inputs, tmp_path / "alone", one)
    scores = (one.scratch / "candidates.jsonl").read_text().splitlines()
    kept = [scores[5], scores[0]]  # several processes leave them in whatever order they come
    (two.scratch / "candidates.jsonl").write_text("".join(f"{line}\n" for line in kept))
    assert stage.run(inputs, tmp_path / "shared", two) == facts
    found = (two.scratch / "candidates.jsonl").read_text().splitlines()
    assert found[:2] == kept
    assert sorted(found) == sorted(scores)
    alone, shared = ((tmp_path / name / "ranking.json").read_text() for name in ("alone", "shared"))
    assert shared == alone


def test_fine_tuning_by_two_processes_gives_the_model_of_one(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    stage = Finetune(**RECIPE | lora(dropout=0.0))
    ctx = replace(ctx, gradient_checkpointing=True)
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

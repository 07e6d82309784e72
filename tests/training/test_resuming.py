"""A training that died continues and gives the same result bit for bit, for every kind of training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import RECIPE as BRIEF
from recipes import Steps, lora
from safetensors.torch import load_file

from stc.data.manifest import Manifest
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import load, save
from stc.pipeline.logged_curves import Curves, read_journal, with_journal
from stc.pipeline.stage import Context, Progress, Stage
from stc.stages.adapt import Adapt
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind
from stc.training import checkpoints, loop
from talks.stages.pretrain import Pretrain

RECIPE = BRIEF | {"epochs": 2, "batch_size": 3}  # of 8 utterances: 3 steps an epoch, the last one smaller
LORA = lora(dropout=0.3)
DISTILLED = {"distillation": {"weight": 0.5, "reverse": 0.5, "temperature": 1.0, "hidden": 1.0}}
PRETRAIN: dict[str, Any] = {
    "steps": 6,
    "vocab_size": 320,
    "window_seconds": 2,
    "mel_bins": 40,
    "encoder": {"width": 32, "layers": 1, "heads": 2, "ffn": 64},
    "decoder": {"width": 32, "layers": 2, "heads": 2, "ffn": 64},
    "spelling": {"weight": 1.0, "share": 0.3, "later": 0.3},
    "max_new_tokens": 8,
}
OPTIMISATION = {key: value for key, value in RECIPE.items() if key not in ("method", "parts", "epochs")}
STAGES: dict[str, Stage] = {
    "all parts": Finetune(**RECIPE | {"parts": ["encoder", "projector", "decoder", "embedding", "head"]}),
    "8 bits, recomputed": Finetune(**RECIPE | {"optimizer": "adamw_8bit"}),
    "mixed": Finetune(**RECIPE | {"precision": "bfloat16-mixed"}),
    "qlora": Adapt(**RECIPE | LORA | {"method": "qlora"}),
    "augmented": Finetune(**RECIPE | LORA | {"augment": True}),
    "patient": Finetune(**RECIPE | LORA | {"patience": 1, "learning_rate": 0.01, "epochs": 4}),
    "distilled": Finetune(**RECIPE | LORA | DISTILLED),
    "pretrain": Pretrain(**PRETRAIN | OPTIMISATION),
}
CRASHES = (2, 4)  # steps that were done: in the first epoch; in the second, after a report


class Crash(Exception):
    """Stands in for the death of the process."""


@pytest.fixture(scope="module")
def inputs(tiny_model: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model that lacks one of its teacher's layers. ``unlike`` has other targets for the recordings of ``dev``:
    a model that learns them becomes worse on ``dev`` from the first step on."""
    folder = tmp_path_factory.mktemp("resuming")
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    whole = Manifest.load(tiny_manifest)
    (folder / "unlike").mkdir()
    (folder / "unlike" / "audio").symlink_to(tiny_manifest / "audio")
    others = [row.model_copy(update={"target": "1 2 3 4 5 6 7 8"}) for row in whole.rows]
    Manifest(folder / "unlike", whole.task, others).save()
    translator = load(tiny_model, device="cpu", dtype="float32")
    drop_layers(translator, "decoder", {2})
    save(translator, folder / "pruned")
    pruned = Artifact(Kind.MODEL, folder / "pruned", "pruned", {"layers_removed": [2]})
    return {
        "model": pruned,
        "train": manifest,
        "unlike": Artifact(Kind.MANIFEST, folder / "unlike", "unlike"),
        "dev": manifest,
        "teacher": Artifact(Kind.MODEL, tiny_model, "model"),
    }


def taken(stage: Stage, inputs: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(stage, Pretrain):
        return {"train": {"de": inputs["train"]}}
    names = ["model", "dev"]
    if isinstance(stage, Finetune) and stage.distillation is not None:
        names.append("teacher")
    patient = isinstance(stage, Finetune) and stage.patience is not None
    return {name: inputs[name] for name in names} | {"train": inputs["unlike" if patient else "train"]}


def run(
    stage: Stage, inputs: Mapping[str, Any], out: Path, ctx: Context, crash: int | None = None
) -> tuple[Mapping[str, Any], dict[str, torch.Tensor], Curves]:
    """Run a stage, and return its facts, weights and curves."""

    @contextmanager
    def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
        yield Steps(crash if unit == "step" else None, Crash())

    out.mkdir()
    recomputed = getattr(stage, "optimizer", "") == "adamw_8bit"  # the two that belong together
    context = with_journal(replace(ctx, progress=progress, gradient_checkpointing=recomputed))
    facts = stage.run(taken(stage, inputs), out, context)
    weights = {name: one for file in out.glob("*.safetensors") for name, one in load_file(file).items()}
    curves = {key: points for key, points in read_journal(ctx.scratch).items() if key != "steps_per_second"}
    return facts, weights, curves


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_training_that_died_twice_gives_what_an_undisturbed_one_does(
    stage: Stage, inputs: Mapping[str, Any], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "REPORT_EVERY", 3)
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", math.inf)
    (tmp_path / "quiet").mkdir()
    facts, weights, curves = run(stage, inputs, tmp_path / "undisturbed", replace(ctx, scratch=tmp_path / "quiet"))
    assert not (tmp_path / "quiet" / "checkpoints").exists()
    assert facts["steps"] > CRASHES[-1]
    if isinstance(stage, Finetune) and stage.patience:  # this one has to end early, or its stopping is not looked at
        assert facts["best_epoch"] < len(facts["dev_losses"]) < stage.epochs
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    for crash in CRASHES:
        with pytest.raises(Crash):
            run(stage, inputs, tmp_path / f"died after {crash}", ctx, crash)
    assert (ctx.scratch / "checkpoints").exists()
    resumed = run(stage, inputs, tmp_path / "resumed", ctx)
    assert resumed[0] == facts
    assert resumed[2] == curves
    assert resumed[1].keys() == weights.keys()
    assert all(torch.equal(resumed[1][name], weights[name]) for name in weights)

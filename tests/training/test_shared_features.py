"""A training that reads features gives the same result as one that encodes the audio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import RECIPE, Steps, lora
from safetensors.torch import load_file

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import load, save
from stc.pipeline.stage import Context, Progress
from stc.stages.adapt import Adapt
from stc.stages.features import Features
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind
from stc.training import checkpoints
from stc.training.fine_tuning import FineTuning
from stc.training.teacher_forcing import TeacherForcing

ONLINE = {"distillation": {"weight": 0.5, "reverse": 0.5, "temperature": 1.0, "hidden": 1.0}}


@pytest.fixture(scope="module")
def teacher(planted_model: Path) -> Artifact:
    return Artifact(Kind.MODEL, planted_model, "teacher")


@pytest.fixture(scope="module")
def train(tiny_manifest: Path) -> Artifact:
    return Artifact(Kind.MANIFEST, tiny_manifest, "train")


@pytest.fixture(scope="module")
def distilled(tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Six of the recordings, each with two targets."""
    whole = Manifest.load(tiny_manifest)
    folder = tmp_path_factory.mktemp("distilled")
    (folder / "audio").symlink_to(tiny_manifest / "audio")
    again = [row.model_copy(update={"id": f"{row.id}.kd", "target": "Noch einmal."}) for row in whole.rows[:6]]
    Manifest(folder, whole.task, whole.rows[:6] + again).save()
    return Artifact(Kind.MANIFEST, folder, "distilled")


@pytest.fixture(scope="module")
def features(
    teacher: Artifact, train: Artifact, tmp_path_factory: pytest.TempPathFactory, module_ctx: Context
) -> Artifact:
    out = tmp_path_factory.mktemp("features")
    facts = Features(dtype="float32").run({"model": teacher, "data": train}, out, module_ctx)
    return Artifact(Kind.FEATURES, out, "features", facts)


def pruned(teacher: Artifact, folder: Path, stack: str = "decoder") -> Artifact:
    translator = load(teacher.path, device="cpu", dtype="float32")
    drop_layers(translator, stack, {2})
    save(translator, folder)
    removed = {"layers_removed": [2]} if stack == "decoder" else {"encoder_layers_removed": [2]}
    return Artifact(Kind.MODEL, folder, "pruned", removed)


def run(stage: FineTuning, inputs: dict[str, Any], name: str, ctx: Context) -> tuple[Any, dict[str, torch.Tensor]]:
    """Run a stage, and return its facts and weights."""
    out, scratch = (ctx.scratch / f"{name}{end}" for end in ("", "-scratch"))
    out.mkdir()
    scratch.mkdir()
    facts = stage.run(inputs, out, replace(ctx, scratch=scratch))
    return facts, {key: one for file in out.glob("*.safetensors") for key, one in load_file(file).items()}


STAGES: dict[str, FineTuning] = {
    "full": Finetune(**RECIPE | {"parts": ["projector", "decoder"], "patience": 2}),
    "mixed": Finetune(**RECIPE | {"precision": "bfloat16-mixed"}),
    "distilled online": Finetune(**RECIPE | ONLINE),
    "lora": Finetune(**RECIPE | lora(dropout=0.0) | {"patience": 2}),
    "adapters kept": Adapt(**RECIPE | lora(dropout=0.0)),
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_training_with_the_teachers_features_gives_the_model_of_training_with_audio(
    stage: FineTuning,
    teacher: Artifact,
    train: Artifact,
    distilled: Artifact,
    features: Artifact,
    passes: list[int],
    tmp_path: Path,
    ctx: Context,
) -> None:
    inputs: dict[str, Any] = {"model": pruned(teacher, tmp_path / "pruned"), "train": distilled, "dev": train}
    if stage.distillation:
        inputs["teacher"] = teacher
    encoded_facts, encoded = run(stage, inputs, "encoded", ctx)
    assert passes
    passes.clear()
    facts, read = run(stage, {**inputs, "features": features, "dev_features": features}, "read", ctx)
    merged = isinstance(stage, Finetune) and stage.method == "lora"
    assert passes == ([4, 4] if merged else [])  # for the merged model's loss on dev
    assert facts.keys() == encoded_facts.keys()
    compared = {"steps", "train_loss", "dev_loss", "dev_losses", "best_epoch"}
    if merged:  # it computes in bfloat16, where one weight that was rounded otherwise moves the loss by a thousandth
        compared.remove("dev_loss")
        again = TeacherForcing(
            load(ctx.scratch / "read", device="cpu", dtype="bfloat16"), Manifest.load(train.path), ctx
        )
        assert facts["dev_loss"] == pytest.approx(again.loss(), rel=1e-5)
    for fact in facts.keys() & compared:
        assert facts[fact] == pytest.approx(encoded_facts[fact], rel=1e-5), fact
    assert read.keys() == encoded.keys()
    start = load_file(inputs["model"].path / "model.safetensors") if merged else {}
    for name in encoded:  # saved in bfloat16, of which the last bit may be another; so are the adapters that are merged
        added = (encoded[name].float() - start[name].float()).abs().max().item() if merged else 0.0
        torch.testing.assert_close(read[name], encoded[name], rtol=2**-7, atol=1e-5 + 2**-7 * added)


def test_a_training_that_died_goes_on_to_the_same_weights_without_encoding_anything(
    teacher: Artifact, train: Artifact, features: Artifact, ctx: Context, passes: list[int], monkeypatch: Any
) -> None:
    class Crash(Exception):
        """Stands in for the death of the process."""

    @contextmanager
    def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
        yield Steps(2 if unit == "step" else None, Crash())

    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    inputs = {"model": teacher, "train": train, "features": features}
    stage = Finetune(**RECIPE | {"parts": ["projector", "decoder"]})
    facts, weights = run(stage, inputs, "undisturbed", ctx)
    passes.clear()
    scratch, out = ctx.scratch / "scratch", ctx.scratch / "out"
    for folder in (scratch, out):
        folder.mkdir()
    with pytest.raises(Crash):
        stage.run(inputs, out, replace(ctx, scratch=scratch, progress=progress))
    assert (scratch / "checkpoints").exists()
    assert stage.run(inputs, out, replace(ctx, scratch=scratch)) == facts
    resumed = load_file(out / "model.safetensors")
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    assert passes == []


def test_features_of_another_encoder_than_the_pruned_one_are_refused(
    teacher: Artifact, train: Artifact, features: Artifact, tmp_path: Path, ctx: Context
) -> None:
    model = pruned(teacher, tmp_path / "pruned", "encoder")
    for name in ("features", "dev_features"):
        inputs = {"model": model, "train": train, "dev": train, name: features}
        with pytest.raises(InputError, match=r"features of another encoder than that of .*pruned: leave them out"):
            run(STAGES["full"], inputs, f"out-{name}", ctx)


def test_a_teacher_with_another_encoder_has_to_encode_the_audio(
    teacher: Artifact, train: Artifact, features: Artifact, tmp_path: Path, ctx: Context
) -> None:
    other = replace(pruned(teacher, tmp_path / "pruned", "encoder"), facts={})
    inputs = {"model": teacher, "train": train, "teacher": other, "features": features}
    with pytest.raises(InputError, match="a teacher that has another encoder"):
        run(STAGES["distilled online"], inputs, "out", ctx)


def test_a_training_whose_encoder_would_differ_does_not_read_features(
    teacher: Artifact, train: Artifact, features: Artifact, tmp_path: Path, ctx: Context
) -> None:
    bare = Artifact(Kind.FEATURES, tmp_path / "nowhere", "bare")
    inputs = {"model": teacher, "train": train, "features": bare, "dev_features": bare}
    for name, changes in (("encoder", {"parts": ["encoder"]}), ("narrow", {"precision": "bfloat16"})):
        facts, _ = run(Finetune(**RECIPE | {"epochs": 1} | changes), inputs, name, ctx)
        assert facts["steps"] == 2

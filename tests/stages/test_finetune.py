"""Fine-tuning trains what it is told to and nothing else, the same way each time, into a plain folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stc.errors import InputError, ModelError
from stc.quantization.nf4 import NF4
from stc.stage import Artifact, Context, Kind
from stc.stages.finetune import Finetune

SETTINGS: dict[str, Any] = {
    "method": "full",
    "parts": ["decoder"],
    "epochs": 6,
    "batch_size": 4,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.0,
    "beta2": 0.99,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "precision": "float32",
    "seed": 0,
}
QLORA = SETTINGS | {"method": "qlora", "lora": {"r": 8, "alpha": 16, "rslora": True, "dropout": 0.0}}


@pytest.fixture
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    return {"model": Artifact(Kind.MODEL, tiny_model, "model"), "train": manifest, "dev": manifest}


def run(settings: dict[str, Any], inputs: dict[str, Artifact], out: Path, ctx: Context) -> Mapping[str, Any]:
    out.mkdir()
    return Finetune(**settings).run(inputs, out, ctx)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def test_training_the_decoder_lowers_the_loss_and_touches_nothing_else(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    barely = run(SETTINGS | {"learning_rate": 1e-12}, inputs, tmp_path / "barely", ctx)
    facts = run(SETTINGS, inputs, tmp_path / "trained", ctx)
    assert facts["dev_loss"] < 0.8 * barely["dev_loss"]
    assert facts["steps"] == 12
    before, after = weights(inputs["model"].path), weights(tmp_path / "trained")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("language_model.model.layers", "language_model.model.norm")) for name in changed)
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    trained = sum(tensor.numel() for name, tensor in after.items() if name in changed)
    assert facts["trainable_parameters"] == trained
    assert facts["trainable_share"] == pytest.approx(trained / sum(tensor.numel() for tensor in after.values()))


@pytest.mark.parametrize("settings", [SETTINGS | {"epochs": 2}, QLORA | {"epochs": 2}], ids=["full", "qlora"])
def test_the_same_seed_gives_the_same_weights(
    settings: dict[str, Any], inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    run(settings, inputs, tmp_path / "one", ctx)
    run(settings, inputs, tmp_path / "two", ctx)
    run(settings | {"seed": 1}, inputs, tmp_path / "other", ctx)
    one, two, other = (weights(tmp_path / name) for name in ("one", "two", "other"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["float32", "bfloat16-mixed", "bfloat16"])
def test_qlora_gives_a_plain_folder_that_has_learnt(
    precision: str, inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    barely = run(QLORA | {"learning_rate": 1e-12, "epochs": 1}, inputs, tmp_path / "barely", ctx)
    facts = run(QLORA | {"precision": precision}, inputs, tmp_path / "trained", ctx)
    assert facts["dev_loss"] < 0.95 * barely["dev_loss"]
    before, after = weights(inputs["model"].path), weights(tmp_path / "trained")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".layers." in name and "_proj.weight" in name and "audio" not in name}
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    assert 0 < facts["trainable_share"] < 0.5


def test_qlora_starts_at_the_base(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    run(QLORA | {"learning_rate": 1e-12, "epochs": 1}, inputs, tmp_path / "out", ctx)
    before, after = weights(inputs["model"].path), weights(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_adapters_reach_every_part_they_are_asked_for(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    parts = ["encoder", "projector", "decoder", "head"]
    run(QLORA | {"epochs": 1, "parts": parts, "learning_rate": 0.03}, inputs, tmp_path / "out", ctx)
    before, after = weights(inputs["model"].path), weights(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"audio_tower", "multi_modal_projector", "language_model"}
    assert "language_model.lm_head.weight" in changed
    assert "language_model.model.embed_tokens.weight" not in changed
    assert not any("conv" in name or "norm" in name for name in changed)


def test_a_quantized_model_is_refused(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    from stc.models.checkpoint import load, save

    save(load(inputs["model"].path, device="cpu", dtype="float32", quantize=NF4()), tmp_path / "packed")
    packed = inputs | {"model": Artifact(Kind.MODEL, tmp_path / "packed", "packed")}
    with pytest.raises(ModelError, match="is quantized"):
        run(SETTINGS, packed, tmp_path / "out", ctx)


def test_a_warm_up_longer_than_the_training_is_refused(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    with pytest.raises(InputError, match="warmup_steps=400"):
        run(SETTINGS | {"warmup_steps": 400}, inputs, tmp_path / "out", ctx)

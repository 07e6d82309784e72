"""Fine-tuning trains the parts in its recipe and nothing else, reproducibly, into a plain folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding.token_loss import predict
from stc.distillation.token_level import divergence
from stc.errors import InputError, ModelError
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import load, save
from stc.pipeline.stage import Context
from stc.quantization.nf4 import NF4
from stc.stages.finetune import Finetune
from stc.stages.logits import Logits
from stc.store.artifact import Artifact, Kind
from stc.training.teacher_forcing import TeacherForcing

SETTINGS: dict[str, Any] = {
    "method": "full",
    "parts": ["decoder"],
    "epochs": 4,
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
LORA = QLORA | {"method": "lora"}


@pytest.fixture(scope="module")
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    return {"model": Artifact(Kind.MODEL, tiny_model, "model"), "train": manifest, "dev": manifest}


def run(settings: dict[str, Any], inputs: dict[str, Artifact], out: Path, ctx: Context) -> Mapping[str, Any]:
    """Run stages, each with its own scratch folder, as the store does."""
    out.mkdir()
    scratch = ctx.scratch / out.name
    scratch.mkdir()
    return Finetune(**settings).run(inputs, out, replace(ctx, scratch=scratch))


@pytest.fixture(scope="module")
def untrained_loss(tiny_model: Path, tiny_manifest: Path, module_ctx: Context) -> float:
    """The loss on ``dev`` of the model that trainings start from."""
    return TeacherForcing(
        load(tiny_model, device="cpu", dtype="float32"), Manifest.load(tiny_manifest), module_ctx
    ).loss()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def test_training_the_decoder_lowers_the_loss_and_touches_nothing_else(
    inputs: dict[str, Artifact], untrained_loss: float, tmp_path: Path, ctx: Context
) -> None:
    facts = run(SETTINGS, inputs, tmp_path / "trained", ctx)
    assert facts["dev_loss"] < 0.8 * untrained_loss
    assert facts["steps"] == 8
    before, after = weights(inputs["model"].path), weights(tmp_path / "trained")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("language_model.model.layers", "language_model.model.norm")) for name in changed)
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    trained = sum(tensor.numel() for name, tensor in after.items() if name in changed)
    assert facts["trainable_parameters"] == trained
    assert facts["trainable_share"] == pytest.approx(trained / sum(tensor.numel() for tensor in after.values()))


@pytest.mark.parametrize("settings", [SETTINGS | {"epochs": 1}, QLORA | {"epochs": 1}], ids=["full", "qlora"])
def test_the_same_seed_gives_the_same_weights(
    settings: dict[str, Any], inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    run(settings, inputs, tmp_path / "one", ctx)
    run(settings, inputs, tmp_path / "two", ctx)
    run(settings | {"seed": 1}, inputs, tmp_path / "other", ctx)
    one, two, other = (weights(tmp_path / name) for name in ("one", "two", "other"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("precision", ["bfloat16-mixed", "bfloat16"])
def test_adapters_give_a_plain_folder_that_has_learnt(
    method: str, precision: str, inputs: dict[str, Artifact], untrained_loss: float, tmp_path: Path, ctx: Context
) -> None:
    facts = run(QLORA | {"method": method, "precision": precision}, inputs, tmp_path / "trained", ctx)
    assert facts["dev_loss"] < 0.95 * untrained_loss
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
    save(load(inputs["model"].path, device="cpu", dtype="float32", quantize=NF4()), tmp_path / "packed")
    packed = inputs | {"model": Artifact(Kind.MODEL, tmp_path / "packed", "packed")}
    with pytest.raises(ModelError, match="is quantized"):
        run(SETTINGS, packed, tmp_path / "out", ctx)


DISTILLED: dict[str, Any] = {"distillation": {"weight": 1.0, "reverse": 0.0, "temperature": 1.0, "hidden": 1.0}}
UNSEEN: dict[str, Any] = {"distillation": DISTILLED["distillation"] | {"hidden": 0.0}}


def cache(inputs: dict[str, Artifact], out: Path, ctx: Context, top_k: int) -> Artifact:
    """The teacher's logits for the training data."""
    out.mkdir()
    stage = Logits(top_k=top_k, temperature=1.0, dtype="float32", attention="sdpa")
    facts = stage.run({"model": inputs["teacher"], "data": inputs["train"]}, out, ctx)
    return Artifact(Kind.LOGITS, out, "logits", facts)


@pytest.fixture(scope="module")
def pruned(inputs: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """The inputs with the model less one layer, and the whole one as its teacher."""
    folder = tmp_path_factory.mktemp("finetune") / "pruned"
    translator = load(inputs["model"].path, device="cpu", dtype="float32")
    drop_layers(translator, "decoder", {2})
    save(translator, folder)
    model = Artifact(Kind.MODEL, folder, "pruned", {"layers_removed": [2]})
    return inputs | {"model": model, "teacher": inputs["model"]}


def distance(folder: Path, inputs: dict[str, Artifact]) -> float:
    """The divergence of a model's predictions from the teacher's on the training data."""
    manifest = Manifest.load(inputs["train"].path)
    model, teacher = (load(path, device="cpu", dtype="float32") for path in (folder, inputs["teacher"].path))
    collator = Collator.of(model, manifest.task)
    audio = read_batch(manifest, manifest.rows, 16000, workers=1)
    batch = collator.pairs([row.id for row in manifest.rows], audio, manifest.targets)
    with torch.no_grad():
        ours, theirs = predict(model, batch).logits, predict(teacher, batch).logits
    return float(divergence(ours.log_softmax(-1), theirs.log_softmax(-1), 0)) / batch.tokens


@pytest.fixture(scope="module")
def distance_before(pruned: dict[str, Artifact]) -> float:
    return distance(pruned["model"].path, pruned)


@pytest.mark.parametrize("settings", [SETTINGS, LORA, QLORA, SETTINGS | {"parts": ["encoder", "decoder"]}])
def test_distillation_brings_a_pruned_model_closer_to_its_teacher(
    settings: dict[str, Any], pruned: dict[str, Artifact], distance_before: float, tmp_path: Path, ctx: Context
) -> None:
    facts = run(settings | DISTILLED | {"epochs": 6}, pruned, tmp_path / "out", ctx)
    assert distance(tmp_path / "out", pruned) < 0.9 * distance_before
    assert facts["layers_removed"] == [2]


def test_hidden_states_are_not_compared_if_the_removed_layers_are_unknown(
    pruned: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    stranger = pruned | {"model": Artifact(Kind.MODEL, pruned["model"].path, "stranger")}
    with pytest.raises(InputError, match=r"has 5 decoder layers .* hidden: 0 compares none"):
        run(SETTINGS | DISTILLED, stranger, tmp_path / "out", ctx)
    run(SETTINGS | UNSEEN | {"epochs": 1}, stranger, tmp_path / "without", ctx)


@pytest.mark.parametrize(
    ("changes", "given", "faults"),
    [
        ({}, [], []),
        ({}, ["teacher"], ["teacher"]),
        ({}, ["logits"], ["logits"]),
        (DISTILLED, ["teacher"], []),
        (DISTILLED, [], ["teacher"]),
        (DISTILLED, ["teacher", "logits"], ["teacher"]),
        (DISTILLED, ["logits"], ["logits"]),
        (UNSEEN, ["logits"], []),
        ({"patience": 1}, [], ["dev"]),
        ({"patience": 1}, ["dev"], []),
    ],
)
def test_distillation_needs_one_teacher_and_patience_needs_held_out_data(
    changes: dict[str, Any], given: list[str], faults: list[str]
) -> None:
    assert [name for name, _ in Finetune(**SETTINGS, **changes).invalid_inputs(["model", "train", *given])] == faults


def test_cached_logits_teach_the_same_as_a_teacher_in_memory(
    pruned: dict[str, Artifact], distance_before: float, tmp_path: Path, ctx: Context
) -> None:
    brief = SETTINGS | UNSEEN | {"epochs": 2}
    beside = {name: artifact for name, artifact in pruned.items() if name != "dev"}
    run(brief, beside, tmp_path / "online", ctx)
    cached = {name: artifact for name, artifact in beside.items() if name != "teacher"}
    logits = cache(pruned, tmp_path / "logits", ctx, top_k=384)
    run(brief, cached | {"logits": logits}, tmp_path / "cached", ctx)
    online, stored = weights(tmp_path / "online"), weights(tmp_path / "cached")
    for name in online:
        torch.testing.assert_close(stored[name].float(), online[name].float(), rtol=2e-2, atol=2e-3)
    run(SETTINGS | UNSEEN, cached | {"logits": cache(pruned, tmp_path / "few", ctx, top_k=8)}, tmp_path / "out", ctx)
    assert distance(tmp_path / "out", pruned) < 0.9 * distance_before


def test_logits_of_other_data_or_another_temperature_are_refused(
    pruned: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    cached = {name: artifact for name, artifact in pruned.items() if name != "teacher"}
    logits = cache(pruned, tmp_path / "logits", ctx, top_k=8)
    other = replace(logits, facts={**logits.facts, "data": "other"})
    with pytest.raises(InputError, match="of another manifest than"):
        run(SETTINGS | UNSEEN, cached | {"logits": other}, tmp_path / "one", ctx)
    warm = {"distillation": UNSEEN["distillation"] | {"temperature": 2.0}}
    with pytest.raises(InputError, match=r"distillation\.temperature=2: .* has the logits at 1"):
        run(SETTINGS | warm, cached | {"logits": logits}, tmp_path / "two", ctx)


def test_patience_ends_a_training_that_gets_worse_and_keeps_the_best_epoch(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    rising = SETTINGS | {"learning_rate": 0.05, "epochs": 30, "schedule": "constant", "patience": 2}
    facts = run(rising, inputs, tmp_path / "out", ctx)
    losses, best = facts["dev_losses"], facts["best_epoch"]
    assert len(losses) == best + 2 < 30
    assert losses[best - 1] == min(losses) < losses[-1]
    assert facts["steps"] == 2 * len(losses)
    assert facts["dev_loss"] == pytest.approx(min(losses), rel=0.02)  # the saved weights are rounded to bfloat16


def test_augmented_audio_is_learnt_from_and_follows_from_the_seed(
    inputs: dict[str, Artifact], untrained_loss: float, tmp_path: Path, ctx: Context
) -> None:
    augmented = SETTINGS | {"augment": True, "epochs": 3}
    facts = run(augmented, inputs, tmp_path / "one", ctx)
    assert facts["dev_loss"] < 0.9 * untrained_loss
    run(augmented, inputs, tmp_path / "two", ctx)
    run(SETTINGS | {"epochs": 3}, inputs, tmp_path / "clean", ctx)
    one, two, clean = (weights(tmp_path / name) for name in ("one", "two", "clean"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], clean[name]) for name in one)

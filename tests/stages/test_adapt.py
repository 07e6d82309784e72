"""Adapters give the model of finetune when they are merged, and compute as in training when they are attached."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from stc.errors import ModelError
from stc.models.folder import ModelFolder, count_parameters
from stc.models.load_and_save import Translator, load, save
from stc.pipeline.stage import Context
from stc.quantization.nf4 import NF4
from stc.stages.adapt import Adapt
from stc.stages.attach import Attach
from stc.stages.finetune import Finetune
from stc.stages.merge import Merge
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind

RECIPE: dict[str, Any] = {
    "method": "qlora",
    "parts": ["encoder", "decoder"],
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.0,
    "beta2": 0.99,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "precision": "float32",
    "seed": 0,
    "lora": {"r": 8, "alpha": 16, "rslora": True, "dropout": 0.0},
}
COMPUTE: dict[str, Any] = {"dtype": "float32", "attention": "sdpa"}


@pytest.fixture(scope="module")
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    return {"model": Artifact(Kind.MODEL, tiny_model, "model"), "train": manifest, "dev": manifest}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts that all tests use and none changes."""
    return tmp_path_factory.mktemp("adapt")


@pytest.fixture(scope="module")
def adapter(inputs: dict[str, Artifact], work: Path, module_ctx: Context) -> Artifact:
    out = made(work / "adapter")
    return Artifact(Kind.ADAPTER, out, "adapter", dict(Adapt(**RECIPE).run(inputs, out, module_ctx)))


@pytest.fixture(scope="module")
def packed(inputs: dict[str, Artifact], work: Path, module_ctx: Context) -> Path:
    out = made(work / "packed")
    Quantize(quant={"method": "nf4", "double_quant": True}, **COMPUTE).run(inputs, out, module_ctx)
    return out


@pytest.fixture(scope="module")
def kept(adapter: Artifact, packed: Path, work: Path, module_ctx: Context) -> Path:
    out = made(work / "kept")
    Attach(**COMPUTE).run({"model": Artifact(Kind.MODEL, packed, "packed"), "adapter": adapter}, out, module_ctx)
    return out


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(12)[None], use_cache=False).logits
    return found


def test_merged_adapters_are_what_fine_tuning_gives(
    inputs: dict[str, Artifact], adapter: Artifact, tmp_path: Path, ctx: Context
) -> None:
    merged, tuned = made(tmp_path / "merged"), made(tmp_path / "tuned")
    facts = Merge().run({"model": inputs["model"], "adapter": adapter}, merged, ctx)
    Finetune(**RECIPE).run(inputs, tuned, ctx)
    ours, theirs = load_file(merged / "model.safetensors"), load_file(tuned / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert facts == {}


def test_attached_adapters_compute_as_in_training(
    inputs: dict[str, Artifact], adapter: Artifact, kept: Path, ctx: Context
) -> None:
    from stc.data.manifest import Manifest
    from stc.training.teacher_forcing import TeacherForcing

    translator = load(kept, device="cpu", dtype="float32")
    loss = TeacherForcing(translator, Manifest.load(inputs["dev"].path), ctx).loss()
    assert loss == pytest.approx(adapter.facts["dev_loss"], rel=1e-2)


def test_plain_transformers_loads_a_folder_with_its_adapter(kept: Path) -> None:
    from transformers import Qwen2AudioForConditionalGeneration

    plain = Qwen2AudioForConditionalGeneration.from_pretrained(kept)
    plain.load_adapter(str(kept / "adapter"))
    for parameter in plain.parameters():
        if parameter.is_floating_point():  # what is not packed, which transformers leaves as it is stored
            parameter.data = parameter.data.float()
    NF4.compute_exactly(plain)
    ours = logits(load(kept, device="cpu", dtype="float32").model)
    torch.testing.assert_close(logits(plain), ours)
    plain.disable_adapters()
    bare = logits(plain)
    assert not torch.allclose(bare, ours, atol=1e-2)


def test_adapter_counts_in_parameters_elements_and_bytes(adapter: Artifact, packed: Path, kept: Path) -> None:
    added = sum(tensor.numel() for tensor in load_file(adapter.path / "adapter_model.safetensors").values())
    assert added == adapter.facts["trainable_parameters"]
    without, with_it = count_parameters(packed), count_parameters(kept)
    assert with_it.parameters == without.parameters + added
    assert with_it.packed_elements == without.packed_elements + added
    size = (adapter.path / "adapter_model.safetensors").stat().st_size
    assert ModelFolder.of(kept).weight_bytes == ModelFolder.of(packed).weight_bytes + size


def test_adapter_names_no_path_of_this_machine(adapter: Artifact) -> None:
    assert "/" not in (adapter.path / "adapter_config.json").read_text()
    assert sorted(file.name for file in adapter.path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_model_with_an_adapter_is_neither_saved_nor_given_another(
    adapter: Artifact, kept: Path, tmp_path: Path, ctx: Context
) -> None:
    translator: Translator = load(kept, device="cpu", dtype="float32")
    with pytest.raises(ModelError, match="has to be merged"):
        save(translator, tmp_path / "saved")
    with pytest.raises(ModelError, match="has an adapter already"):
        Attach(**COMPUTE).run(
            {"model": Artifact(Kind.MODEL, kept, "kept"), "adapter": adapter}, made(tmp_path / "again"), ctx
        )


def test_damaged_adapter_is_refused_by_name(kept: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(kept, tmp_path / "damaged")
    (damaged / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        load(damaged, device="cpu", dtype="float32")


def test_full_fine_tuning_has_no_adapters() -> None:
    with pytest.raises(ValidationError, match="method full has no adapters"):
        Adapt(**{**RECIPE, "method": "full", "lora": None})

"""What a model will be is said beforehand, and compared here with folders that the stages have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stc.metrics.size import bytes_on_disk
from stc.models import architecture, read_config
from stc.models.counting import count_parameters
from stc.models.folder import ModelFolder
from stc.models.layout import Adapters, Layout, Removals
from stc.models.qwen2_audio import PUBLISHED, published_config
from stc.pipeline.stage import Context
from stc.quantization import quantizer
from stc.stages.adapt import Adapt
from stc.stages.attach import Attach
from stc.stages.finetune import Finetune
from stc.stages.merge import Merge
from stc.stages.prune import Prune
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind

RANKING = Artifact(
    Kind.RANKING,
    Path(),
    "",
    {
        "layers": {"decoder": 6},
        "order": [2, 4],
        "encoder_order": [],
        "layers_removed": [2, 4],
        "encoder_layers_removed": [],
    },
)
LORA = {"r": 4, "alpha": 8, "rslora": True, "dropout": 0.0}
RECIPE: dict[str, Any] = {
    "parts": ["projector", "decoder"], "epochs": 1, "batch_size": 8, "learning_rate": 1e-4, "schedule": "constant",
    "warmup_steps": 0, "weight_decay": 0.0, "beta2": 0.999, "max_grad_norm": 1.0, "label_smoothing": 0.0,
    "precision": "float32", "seed": 0,
}  # fmt: skip
SHIPPED = Path(__file__).parents[2] / "assets" / "base"


def model(folder: Path) -> Artifact:
    return Artifact(Kind.MODEL, folder, folder.name)


def same(layout: Layout, folder: Path) -> None:
    counts = count_parameters(folder)
    assert layout.counts == counts
    assert layout.layers == architecture("qwen2_audio").layers(read_config(folder))
    if layout.exact:
        assert layout.weight_bytes == bytes_on_disk(folder)
    else:
        packed = sum(tensor.dtype == "U8" for tensor in ModelFolder.of(folder).tensors.values()) // 3
        assert abs(layout.weight_bytes - bytes_on_disk(folder)) <= 8 * packed


NARROW_HEADS = {"text_config": {"head_dim": 16, "num_key_value_heads": 4}}


@pytest.mark.parametrize(
    "config", [published_config(), {}, NARROW_HEADS], ids=["published", "defaults", "narrow heads"]
)
def test_weights_are_those_of_the_model_in_its_order(config: dict[str, Any]) -> None:
    import torch
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    family = architecture("qwen2_audio")
    with torch.device("meta"):
        whole = Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(**config))
    weights = family.weights(config, family.layers(config))
    assert [(one.name, one.shape) for one in weights] == [(n, tuple(p.shape)) for n, p in whole.named_parameters()]
    linear = {f"{name}.weight" for name, module in whole.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {one.name for one in weights if one.linear} == linear
    parts = family.parts(whole)
    assert all(any(one.name.startswith(f"{prefix}.") for prefix in parts[one.part]) for one in weights)


def test_layout_of_a_config_is_that_of_the_folder(tiny_model: Path) -> None:
    same(Layout.of_config(read_config(tiny_model)), tiny_model)
    same(Layout.of_config(read_config(SHIPPED)), SHIPPED)


def test_pruned_model_is_foreseen(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    Prune(dtype="float32").run({"model": model(tiny_model), "ranking": RANKING}, tmp_path, ctx)
    found = Layout.of_folder(tiny_model).pruned(Removals({"decoder": 6}, {"decoder": 2}))
    assert (found.exact, found.largest) == (True, False)
    same(found, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "nf4", "double_quant": False},
        {"method": "nf4", "double_quant": True},
        {"method": "nf4", "parts": {"encoder": "bfloat16"}},
        {"method": "int8"},
    ],
    ids=str,
)
def test_quantized_model_is_foreseen(settings: dict[str, Any], tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    stage = Quantize.model_validate({"dtype": "float32", "quant": settings})
    stage.run({"model": model(tiny_model)}, tmp_path, ctx)
    same(Layout.of_folder(tiny_model).packed(quantizer(settings), "float32"), tmp_path)


@pytest.fixture
def adapted(tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context) -> Path:
    stage = Adapt.model_validate({**RECIPE, "method": "lora", "lora": LORA})
    folder = tmp_path / "adapter"
    folder.mkdir()
    stage.run({"model": model(tiny_model), "train": Artifact(Kind.MANIFEST, tiny_manifest, "")}, folder, ctx)
    return folder


def test_adapters_are_foreseen_apart_beside_a_model_and_merged(
    adapted: Path, tiny_model: Path, tmp_path: Path, ctx: Context
) -> None:
    whole = Layout.of_folder(tiny_model)
    adapters = whole.adapters(4, ("projector", "decoder"))
    assert adapters == Adapters.of_folder(adapted)
    for name, stage, expected in (
        ("beside", Attach(dtype="float32"), whole.with_adapters(adapters)),
        ("merged", Merge(), whole.plain()),
    ):
        folder = tmp_path / name
        folder.mkdir()
        stage.run({"model": model(tiny_model), "adapter": Artifact(Kind.ADAPTER, adapted, "")}, folder, ctx)
        same(expected, folder)


def test_tuned_model_is_foreseen(tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    stage = Finetune.model_validate({**RECIPE, "method": "full"})
    stage.run({"model": model(tiny_model), "train": Artifact(Kind.MANIFEST, tiny_manifest, "")}, tmp_path, ctx)
    same(Layout.of_folder(tiny_model).plain(), tmp_path)


def test_model_in_several_files_is_foreseen(
    tiny_model: Path, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.models.checkpoint.SHARD_BYTES", 200_000)
    monkeypatch.setattr("stc.models.layout.SHARD_BYTES", 200_000)
    Prune(dtype="float32").run({"model": model(tiny_model), "ranking": RANKING}, tmp_path, ctx)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    same(Layout.of_folder(tiny_model).pruned(Removals({"decoder": 6}, {"decoder": 2})), tmp_path)


def test_sizes_of_the_publication_follow_from_the_hub_id() -> None:
    """Against what benchmarks/proof_7b.py has measured (docs/results/qwen2_audio_7b.md)."""
    config = architecture("qwen2_audio").published(PUBLISHED)
    assert config is not None
    whole = Layout.of_config(config)
    pruned = whole.pruned(Removals({"decoder": 32}, {"decoder": 8}))
    packed = pruned.packed(quantizer({"method": "nf4"}), "bfloat16")
    assert whole.counts.parameters == 8_397_094_912
    assert (pruned.counts.parameters, pruned.weight_bytes) == (6_777_929_728, 13_555_953_504)
    assert (packed.counts.parameters, packed.counts.packed_elements) == (6_777_929_728, 4_032_233_472)
    assert packed.weight_bytes == pytest.approx(5_406_694_813, abs=2_000)
    adapters = pruned.adapters(64, ("encoder", "projector", "decoder"))
    assert adapters.parameters == 167_460_864


def test_of_removals_from_either_stack_the_largest_model_is_foreseen(tiny_model: Path) -> None:
    whole = Layout.of_folder(tiny_model)
    found = whole.pruned(Removals({"decoder": 6, "encoder": 2}, {}, either=1))
    smaller = whole.pruned(Removals({"decoder": 6, "encoder": 2}, {"encoder": 1}))
    assert (found.weight_bytes, found.largest) == (smaller.weight_bytes, True)
    assert found.plain().largest

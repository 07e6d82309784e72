"""Forecasts of a model's size are compared with folders that the stages have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stc.models import architecture, read_config
from stc.models.folder import ModelFolder, count_parameters
from stc.models.layout import AdapterSize, Layout, RemovalCounts
from stc.models.qwen2_audio import PUBLISHED
from stc.models.shapes import shapes_of
from stc.pipeline.stage import Context
from stc.quantization import quantizer
from stc.stages.adapt import Adapt
from stc.stages.attach import Attach
from stc.stages.finetune import Finetune
from stc.stages.merge import Merge
from stc.stages.prune import Prune
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind
from stc.system.subprocess_json import run_json

RANKING = Artifact(
    Kind.RANKING,
    Path(),
    "",
    {
        "layers": {"decoder": 16},
        "order": [2, 1],
        "encoder_order": [],
        "layers_removed": [1, 2],
        "encoder_layers_removed": [],
    },
)
LORA = {"r": 32, "alpha": 8, "rslora": True, "dropout": 0.0}
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
    assert layout.counts.parameters == counts.parameters
    assert layout.counts.packed_elements == pytest.approx(counts.packed_elements, rel=0.01)
    assert layout.layers == architecture("qwen2_audio").layers(read_config(folder))
    assert layout.weight_bytes == pytest.approx(ModelFolder.of(folder).weight_bytes, rel=0.01)


def test_layout_of_a_config_equals_that_of_its_folder() -> None:
    same(Layout.of_config(read_config(SHIPPED)), SHIPPED)
    assert Layout.of_config(read_config(SHIPPED)).weights == Layout.of_folder(SHIPPED).weights


def test_process_without_torch_asks_one_that_builds_the_model_once(tmp_path: Path) -> None:
    config = read_config(SHIPPED)
    command = (
        "import json, sys; from stc.models.shapes import shapes_of; found = shapes_of(json.load(sys.stdin)); "
        "assert 'torch' not in sys.modules; json.dump(found, sys.stdout)"
    )

    def asked() -> dict[str, tuple[int, ...]]:
        answer = run_json("asking", ["-c", command], config, XDG_CACHE_HOME=str(tmp_path))
        return {name: tuple(shape) for name, shape in answer.items()}

    assert asked() == shapes_of(config)
    [kept] = tmp_path.rglob("*.json")
    kept.write_text('{"head": [2, 3]}')
    assert asked() == {"head": (2, 3)}


def test_forecast_of_a_pruned_model(tmp_path: Path, ctx: Context) -> None:
    Prune(dtype="float32").run({"model": model(SHIPPED), "ranking": RANKING}, tmp_path, ctx)
    found = Layout.of_folder(SHIPPED).pruned(RemovalCounts({"decoder": 16}, {"decoder": 2}))
    assert not found.largest
    same(found, tmp_path)


def test_packed_model_has_the_weights_of_what_it_was(tmp_path: Path, ctx: Context) -> None:
    stage = Quantize.model_validate({"dtype": "float32", "quant": {"method": "nf4"}})
    stage.run({"model": model(SHIPPED)}, tmp_path, ctx)
    assert Layout.of_folder(tmp_path).weights == Layout.of_folder(SHIPPED).weights


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
def test_forecast_of_a_quantized_model(settings: dict[str, Any], tmp_path: Path, ctx: Context) -> None:
    stage = Quantize.model_validate({"dtype": "float32", "quant": settings})
    stage.run({"model": model(SHIPPED)}, tmp_path, ctx)
    same(Layout.of_folder(SHIPPED).packed(quantizer(settings)), tmp_path)


@pytest.fixture
def adapted(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> Path:
    stage = Adapt.model_validate({**RECIPE, "method": "lora", "lora": LORA})
    folder = tmp_path / "adapter"
    folder.mkdir()
    stage.run({"model": model(SHIPPED), "train": Artifact(Kind.MANIFEST, tiny_manifest, "")}, folder, ctx)
    return folder


def test_forecast_of_adapters_alone_beside_a_model_and_merged(adapted: Path, tmp_path: Path, ctx: Context) -> None:
    whole = Layout.of_folder(SHIPPED)
    adapters = whole.adapters(32, ("projector", "decoder"))
    found = AdapterSize.of_folder(adapted)
    assert adapters.parameters == found.parameters
    assert adapters.weight_bytes == pytest.approx(found.weight_bytes, rel=0.01)
    for name, stage, expected in (
        ("beside", Attach(dtype="float32"), whole.with_adapters(adapters)),
        ("merged", Merge(), whole.in_bfloat16()),
    ):
        folder = tmp_path / name
        folder.mkdir()
        stage.run({"model": model(SHIPPED), "adapter": Artifact(Kind.ADAPTER, adapted, "")}, folder, ctx)
        same(expected, folder)


def test_forecast_of_a_tuned_model(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    stage = Finetune.model_validate({**RECIPE, "method": "full"})
    stage.run({"model": model(SHIPPED), "train": Artifact(Kind.MANIFEST, tiny_manifest, "")}, tmp_path, ctx)
    same(Layout.of_folder(SHIPPED).in_bfloat16(), tmp_path)


def test_sizes_of_the_publication_follow_from_the_hub_id() -> None:
    """Against what benchmarks/proof_7b.py has measured (docs/results/qwen2_audio_7b.md)."""
    config = architecture("qwen2_audio").known_config(PUBLISHED)
    assert config is not None
    whole = Layout.of_config(config)
    pruned = whole.pruned(RemovalCounts({"decoder": 32}, {"decoder": 8}))
    packed = pruned.packed(quantizer({"method": "nf4"}))
    assert whole.counts.parameters == 8_397_094_912
    assert pruned.counts.parameters == packed.counts.parameters == 6_777_929_728
    assert pruned.weight_bytes == pytest.approx(13_555_953_504, rel=0.01)
    assert packed.counts.packed_elements == pytest.approx(4_032_233_472, rel=0.01)
    assert packed.weight_bytes == pytest.approx(5_406_694_813, rel=0.01)
    adapters = pruned.adapters(64, ("encoder", "projector", "decoder"))
    assert adapters.parameters == 167_460_864


def test_forecast_of_removals_from_either_stack_is_the_largest_model(tiny_model: Path) -> None:
    whole = Layout.of_folder(tiny_model)
    found = whole.pruned(RemovalCounts({"decoder": 6, "encoder": 2}, {}, either=1))
    smaller = whole.pruned(RemovalCounts({"decoder": 6, "encoder": 2}, {"encoder": 1}))
    assert (found.weight_bytes, found.largest) == (smaller.weight_bytes, True)
    assert found.in_bfloat16().largest

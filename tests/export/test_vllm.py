"""The check against vLLM, with folders that differ in one thing from what vLLM needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from stc.export.vllm import refusals
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import load, save
from stc.models.qwen2_audio import Qwen2Audio
from stc.quantization import methods, quantizer


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A tiny model whose processor hears thirty seconds, as the published one does."""
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    edit(copy / "processor_config.json", lambda config: config["feature_extractor"].update(chunk_length=30))
    return copy


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_model_of_the_published_form_is_not_refused(folder: Path) -> None:
    assert refusals(folder, "merged") == []


def test_pruned_model_is_not_refused(folder: Path, tmp_path: Path) -> None:
    translator = load(folder, device="cpu", dtype="bfloat16")
    drop_layers(translator, "decoder", [1, 4])
    save(translator, tmp_path / "pruned")
    assert refusals(tmp_path / "pruned", "merged") == []


@pytest.mark.parametrize("method", methods())
def test_quantized_model_is_refused_by_the_name_of_its_library(folder: Path, tmp_path: Path, method: str) -> None:
    save(load(folder, device="cpu", dtype="bfloat16", quantize=quantizer({"method": method})), tmp_path / "packed")
    [reason] = refusals(tmp_path / "packed", "quantized") or []
    assert reason.startswith("quantization method 'bitsandbytes'")


def test_shorter_window_is_refused(tiny_model: Path) -> None:
    assert refusals(tiny_model, "merged") == ["audio window is 200 frames, and vLLM takes 3000 (30 s) only"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda config: config.update(architectures=None), "architectures"),
        (lambda config: config["text_config"].update(hidden_act="gelu"), "hidden_act"),
        (
            lambda config: config["text_config"].update(
                use_sliding_window=True,
                sliding_window=8,
                layer_types=["sliding_attention", *config["text_config"]["layer_types"][1:]],
            ),
            "layer_types",
        ),
    ],
)
def test_config_that_vllm_cannot_run_is_refused_by_its_key(
    folder: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    edit(folder / "config.json", change)
    [reason] = refusals(folder, "merged") or []
    assert reason.startswith(named)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("language_model.model.layers.2.mlp.up_proj.weight", "model.language_model.layers.2.mlp.up_proj.weight"),
    ],
)
def test_renamed_weight_is_refused_with_both_names(folder: Path, old: str, new: str) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[new] = weights.pop(old)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    missing, surplus = refusals(folder, "merged") or []
    assert old in missing
    assert new in surplus


def test_adapter_is_refused(tiny_model: Path) -> None:
    [reason] = refusals(tiny_model, "adapter") or []
    assert "SupportsLoRA" in reason


def test_unchecked_family_has_no_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Qwen2Audio, "vllm", lambda self, config: None)
    assert refusals(folder, "merged") is None

from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file

from stc.models.folder import count_parameters
from stc.models.layer_removal import check_cache, check_reload
from stc.models.load_and_save import Translator, load, save
from stc.quantization.int8 import Int8

Logits = Callable[[Translator], torch.Tensor]


@pytest.fixture(scope="module")
def packed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "packed"
    save(load(tiny_model, device="cpu", dtype="bfloat16", quantize=Int8()), folder)
    return folder


def test_every_row_is_rounded_to_its_own_scale(packed: Path, tiny_model: Path) -> None:
    name = "language_model.model.layers.2.self_attn.o_proj"
    stored, before = load_file(packed / "model.safetensors"), load_file(tiny_model / "model.safetensors")
    step = stored[f"{name}.SCB"][:, None] / 127
    assert ((stored[f"{name}.weight"] * step - before[f"{name}.weight"].float()).abs() <= 0.5001 * step).all()


def test_counts_every_weight_once_and_no_scale(packed: Path, tiny_model: Path) -> None:
    plain, counts = count_parameters(tiny_model), count_parameters(packed)
    assert counts.parameters == counts.packed_elements == plain.parameters


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reload_is_the_model_in_memory(tiny_model: Path, tmp_path: Path, dtype: str, logits: Logits) -> None:
    translator = load(tiny_model, device="cpu", dtype=dtype, quantize=Int8(threshold=3.0))
    logits(translator)  # the first pass moves the scales from the weight to the layer
    save(translator, tmp_path / "packed")
    check_reload(translator, tmp_path / "packed")


def test_threshold_is_stored_in_the_folder(tiny_model: Path, tmp_path: Path) -> None:
    save(load(tiny_model, device="cpu", dtype="float32", quantize=Int8(threshold=2.5)), tmp_path / "packed")
    model = load(tmp_path / "packed", device="cpu", dtype="float32").model
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear8bitLt)]
    assert {layer.state.threshold for layer in layers} == {2.5}


def test_without_threshold_an_utterance_decodes_alike_with_and_without_cache(tiny_model: Path) -> None:
    check_cache(load(tiny_model, device="cpu", dtype="float32", quantize=Int8(threshold=0)))

import shutil
from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.errors import ModelError
from stc.models.checkpoint import Translator, load, save
from stc.models.folder import count_parameters
from stc.models.surgery import check_cache, check_reload, drop_layers
from stc.quantization.int8 import Int8

Logits = Callable[[Translator], torch.Tensor]


@pytest.fixture(scope="module")
def packed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "packed"
    save(load(tiny_model, device="cpu", dtype="bfloat16", quantize=Int8()), folder)
    return folder


def test_plain_transformers_computes_what_stc_computes(
    packed: Path, plain_logits: Callable[[Path, str], torch.Tensor], logits: Logits
) -> None:
    assert torch.equal(plain_logits(packed, "bfloat16"), logits(load(packed, device="cpu", dtype="bfloat16")))


def test_linear_layers_take_a_byte_a_weight_and_the_rest_is_bfloat16(packed: Path) -> None:
    weights = load_file(packed / "model.safetensors")
    bytes_ = {name for name, tensor in weights.items() if tensor.dtype == torch.int8}
    assert "audio_tower.layers.0.fc1.weight" in bytes_
    assert "multi_modal_projector.linear.weight" in bytes_
    assert "language_model.model.layers.5.mlp.down_proj.weight" in bytes_
    plain = {name: tensor.dtype for name, tensor in weights.items() if name not in bytes_ and not Int8.is_state(name)}
    assert set(plain.values()) == {torch.bfloat16}
    assert {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"} < plain.keys()


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


def test_threshold_is_that_of_the_folder(tiny_model: Path, tmp_path: Path) -> None:
    save(load(tiny_model, device="cpu", dtype="float32", quantize=Int8(threshold=2.5)), tmp_path / "packed")
    model = load(tmp_path / "packed", device="cpu", dtype="float32").model
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear8bitLt)]
    assert {layer.state.threshold for layer in layers} == {2.5}


def test_without_threshold_an_utterance_decodes_alike_with_and_without_cache(tiny_model: Path) -> None:
    check_cache(load(tiny_model, device="cpu", dtype="float32", quantize=Int8(threshold=0)))


def test_packed_model_can_be_pruned(packed: Path, tmp_path: Path) -> None:
    translator = load(packed, device="cpu", dtype="float32")
    drop_layers(translator, "decoder", [1, 3])
    save(translator, tmp_path / "pruned")
    check_reload(translator, tmp_path / "pruned")


def test_missing_scales_are_named(packed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    name = "language_model.model.layers.1.mlp.up_proj.SCB"
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=name):
        load(folder, device="cpu", dtype="float32")


def test_quantizing_twice_is_refused(packed: Path) -> None:
    with pytest.raises(ModelError, match="already"):
        load(packed, device="cpu", dtype="bfloat16", quantize=Int8())

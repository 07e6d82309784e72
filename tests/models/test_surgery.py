import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from plain_python import PlainPython
from safetensors.torch import load_file
from torch import nn

from stc.errors import ModelError
from stc.models.layer_removal import check_cache, check_reload, drop_layers, without_layers
from stc.models.load_and_save import Translator, load, save

PlainLogits = Callable[[Path, str], torch.Tensor]


def logits(translator: Translator) -> torch.Tensor:
    with torch.no_grad():
        return translator.model(input_ids=torch.arange(1, 30)[None]).logits


PLAIN_AUDIO = """
import sys
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration
folder = sys.argv[1] + "/pruned"
model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype="float32")
audio = np.random.default_rng(0).standard_normal(20000).astype("float32")
text = "<|audio_bos|><|AUDIO|><|audio_eos|>\\nTranslate"
batch = AutoProcessor.from_pretrained(folder)(text=text, audio=[audio], sampling_rate=16000, return_tensors="pt")
with torch.no_grad():
    save_file({"logits": model(**batch).logits}, sys.argv[1] + "/out.safetensors")
save_file({name: tensor.contiguous() for name, tensor in batch.items()}, sys.argv[1] + "/inputs.safetensors")
assert not [name for name in sys.modules if name.split(".")[0] == "stc"]
"""


def heard(translator: Translator) -> torch.Tensor:
    batch = {
        "input_features": torch.arange(40 * 200).sin().reshape(1, 40, 200),
        "feature_attention_mask": torch.ones(1, 200, dtype=torch.int64),
    }
    with torch.no_grad():
        return translator.architecture.encode_audio(translator.model, batch).states


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pruned_model_passes_both_checks(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    translator = load(tiny_model, device="cpu", dtype=dtype)
    drop_layers(translator, "decoder", [3, 1])
    assert len(translator.model.get_decoder().layers) == 4
    check_cache(translator)
    save(translator, tmp_path / "pruned")
    check_reload(translator, tmp_path / "pruned")


def test_kept_layers_are_the_right_ones_in_order(translator: Translator) -> None:
    before = list(translator.model.get_decoder().layers)
    drop_layers(translator, "decoder", [1, 4])
    assert all(
        a is b for a, b in zip(translator.model.get_decoder().layers, [before[i] for i in (0, 2, 3, 5)], strict=True)
    )


def test_pruned_folder_loads_in_plain_transformers_with_equal_logits(
    translator: Translator, tmp_path: Path, plain_logits: PlainLogits
) -> None:
    drop_layers(translator, "decoder", [2, 3])
    save(translator, tmp_path / "pruned")
    assert torch.equal(plain_logits(tmp_path / "pruned", "float32"), logits(translator))


def test_cache_indices_left_behind_are_caught(translator: Translator) -> None:
    decoder = translator.model.get_decoder()
    drop_layers(translator, "decoder", [1])
    for index, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = index + (index >= 1)
    with pytest.raises(ModelError, match="cache"):
        check_cache(translator)


def test_shared_cache_index_is_caught(translator: Translator) -> None:
    drop_layers(translator, "decoder", [1])
    translator.model.get_decoder().layers[2].self_attn.layer_idx = 1
    with pytest.raises(ModelError, match="cache"):
        check_cache(translator)


def test_number_of_layers_left_behind_is_caught(translator: Translator, tmp_path: Path) -> None:
    text = translator.model.config.text_config
    types = list(text.layer_types)
    drop_layers(translator, "decoder", [1])
    text.num_hidden_layers, text.layer_types = 6, types
    save(translator, tmp_path / "pruned")
    with pytest.raises(ModelError, match=r"layers\.5\."):
        check_reload(translator, tmp_path / "pruned")


def test_layer_types_left_behind_are_caught(translator: Translator) -> None:
    text = translator.model.config.text_config
    types = list(text.layer_types)
    drop_layers(translator, "decoder", [1])
    text.layer_types = types
    with pytest.raises(ModelError):
        check_cache(translator)


def test_other_weights_on_disk_are_caught(translator: Translator, tmp_path: Path) -> None:
    save(translator, tmp_path / "saved")
    with torch.no_grad():
        translator.model.get_decoder().layers[3].mlp.up_proj.weight[0, 0] += 1
    with pytest.raises(ModelError, match=r"layers\.3\.mlp\.up_proj\.weight"):
        check_reload(translator, tmp_path / "saved")


@pytest.mark.parametrize("layer", [0, 5, 6, -1])
def test_protected_and_absent_layers_are_refused(translator: Translator, layer: int) -> None:
    before = list(translator.model.get_decoder().layers)
    with pytest.raises(ModelError, match=rf"{layer} cannot be removed: of 6 layers, 1 to 4 can"):
        drop_layers(translator, "decoder", [2, layer])
    assert list(translator.model.get_decoder().layers) == before


def test_without_layers_equals_dropping_them(translator: Translator, tiny_model: Path) -> None:
    dropped = load(tiny_model, device="cpu", dtype="float32")
    drop_layers(dropped, "decoder", [2, 4])
    with without_layers(translator, {"decoder": [2, 4]}):
        check_cache(translator)
        assert torch.equal(logits(translator), logits(dropped))


def interrupted(translator: Translator) -> None:
    with without_layers(translator, {"decoder": [1]}):
        logits(translator)
        raise RuntimeError("interrupted")


def test_without_layers_restores_everything_after_an_error(translator: Translator) -> None:
    model = translator.model
    config, layers, before = json.dumps(model.config.to_dict()), model.get_decoder().layers, logits(translator)
    with pytest.raises(RuntimeError, match="interrupted"):
        interrupted(translator)
    assert model.get_decoder().layers is layers
    assert [layer.self_attn.layer_idx for layer in layers] == list(range(6))
    assert json.dumps(model.config.to_dict()) == config
    assert torch.equal(logits(translator), before)
    check_cache(translator)


def test_without_encoder_layers_equals_dropping_them_and_restores_them(planted_model: Path) -> None:
    translator = load(planted_model, device="cpu", dtype="float32")
    config, before = json.dumps(translator.model.config.to_dict()), heard(translator)
    dropped = load(planted_model, device="cpu", dtype="float32")
    drop_layers(dropped, "encoder", [1, 3])
    with without_layers(translator, {"decoder": [2], "encoder": [1, 3]}):
        assert translator.model.config.audio_config.encoder_layers == 3
        assert torch.equal(heard(translator), heard(dropped))
        assert not torch.equal(heard(translator), before)
    assert json.dumps(translator.model.config.to_dict()) == config
    assert torch.equal(heard(translator), before)


def test_pruned_encoder_loads_in_plain_transformers_with_equal_logits_for_audio(
    planted_model: Path, tmp_path: Path, plain_python: PlainPython
) -> None:
    translator = load(planted_model, device="cpu", dtype="float32")
    drop_layers(translator, "encoder", [1, 2])
    drop_layers(translator, "decoder", [2])
    check_cache(translator)
    save(translator, tmp_path / "pruned")
    check_reload(translator, tmp_path / "pruned")
    plain_python.run(PLAIN_AUDIO, str(tmp_path)).check_returncode()
    batch, expected = load_file(tmp_path / "inputs.safetensors"), load_file(tmp_path / "out.safetensors")["logits"]
    with torch.no_grad():
        sound = translator.architecture.encode_audio(translator.model, batch)
        embeds = translator.architecture.embed(translator.model, batch["input_ids"], sound)
        found = translator.model(inputs_embeds=embeds).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [0, 4, 5, -1])
def test_protected_and_absent_encoder_layers_are_refused(planted_model: Path, layer: int) -> None:
    translator = load(planted_model, device="cpu", dtype="float32")
    with pytest.raises(ModelError, match=rf"encoder layer {layer} cannot be removed"):
        drop_layers(translator, "encoder", [2, layer])
    assert len(translator.model.model.audio_tower.layers) == 5


def test_number_of_encoder_layers_left_behind_is_caught(planted_model: Path, tmp_path: Path) -> None:
    translator = load(planted_model, device="cpu", dtype="float32")
    drop_layers(translator, "encoder", [1])
    translator.model.config.audio_config.encoder_layers = 5
    save(translator, tmp_path / "pruned")
    with pytest.raises(ModelError, match=r"layers\.4\."):
        check_reload(translator, tmp_path / "pruned")


def test_encoder_with_other_output_is_detected(planted_model: Path, tmp_path: Path) -> None:
    translator = load(planted_model, device="cpu", dtype="float32")
    save(translator, tmp_path / "saved")
    translator.model.model.audio_tower.layers[1].activation_fn = torch.nn.ReLU()
    with pytest.raises(ModelError, match="encodes a sound otherwise"):
        check_reload(translator, tmp_path / "saved")


def test_without_layers_copies_no_weight(translator: Translator) -> None:
    pointers = {weight.data_ptr() for weight in translator.model.parameters()}
    with without_layers(translator, {"decoder": [1, 2]}):
        assert {weight.data_ptr() for weight in translator.model.parameters()} < pointers
        assert isinstance(translator.model.get_decoder().layers, nn.ModuleList)

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from stc.errors import ModelError
from stc.models.checkpoint import Translator, load, save
from stc.models.surgery import check_cache, check_reload, drop_decoder_layers, without_layers

PlainLogits = Callable[[Path, str], torch.Tensor]


def logits(translator: Translator) -> torch.Tensor:
    with torch.no_grad():
        return translator.model(input_ids=torch.arange(1, 30)[None]).logits


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pruned_model_passes_both_checks(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    translator = load(tiny_model, device="cpu", dtype=dtype)
    drop_decoder_layers(translator, [3, 1])
    assert len(translator.model.get_decoder().layers) == 4
    check_cache(translator)
    save(translator, tmp_path / "pruned")
    check_reload(translator, tmp_path / "pruned")


def test_kept_layers_are_the_right_ones_in_order(translator: Translator) -> None:
    before = list(translator.model.get_decoder().layers)
    drop_decoder_layers(translator, [1, 4])
    assert all(
        a is b for a, b in zip(translator.model.get_decoder().layers, [before[i] for i in (0, 2, 3, 5)], strict=True)
    )


def test_pruned_folder_loads_in_plain_transformers_with_equal_logits(
    translator: Translator, tmp_path: Path, plain_logits: PlainLogits
) -> None:
    drop_decoder_layers(translator, [2, 3])
    save(translator, tmp_path / "pruned")
    assert torch.equal(plain_logits(tmp_path / "pruned", "float32"), logits(translator))


def test_cache_indices_left_behind_are_caught(translator: Translator) -> None:
    decoder = translator.model.get_decoder()
    drop_decoder_layers(translator, [1])
    for index, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = index + (index >= 1)
    with pytest.raises(ModelError, match="cache"):
        check_cache(translator)


def test_shared_cache_index_is_caught(translator: Translator) -> None:
    drop_decoder_layers(translator, [1])
    translator.model.get_decoder().layers[2].self_attn.layer_idx = 1
    with pytest.raises(ModelError, match="cache"):
        check_cache(translator)


def test_number_of_layers_left_behind_is_caught(translator: Translator, tmp_path: Path) -> None:
    text = translator.model.config.text_config
    types = list(text.layer_types)
    drop_decoder_layers(translator, [1])
    text.num_hidden_layers, text.layer_types = 6, types
    save(translator, tmp_path / "pruned")
    with pytest.raises(ModelError, match=r"layers\.5\."):
        check_reload(translator, tmp_path / "pruned")


def test_layer_types_left_behind_are_caught(translator: Translator) -> None:
    text = translator.model.config.text_config
    types = list(text.layer_types)
    drop_decoder_layers(translator, [1])
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
        drop_decoder_layers(translator, [2, layer])
    assert list(translator.model.get_decoder().layers) == before


def test_without_layers_equals_dropping_them(translator: Translator, tiny_model: Path) -> None:
    dropped = load(tiny_model, device="cpu", dtype="float32")
    drop_decoder_layers(dropped, [2, 4])
    with without_layers(translator, [2, 4]):
        check_cache(translator)
        assert torch.equal(logits(translator), logits(dropped))


def interrupted(translator: Translator) -> None:
    with without_layers(translator, [1]):
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


def test_without_layers_copies_no_weight(translator: Translator) -> None:
    pointers = {weight.data_ptr() for weight in translator.model.parameters()}
    with without_layers(translator, [1, 2]):
        assert {weight.data_ptr() for weight in translator.model.parameters()} < pointers
        assert isinstance(translator.model.get_decoder().layers, nn.ModuleList)

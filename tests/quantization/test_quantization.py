"""What every method of quantization has in common: how it is chosen, and which parts it packs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.errors import ConfigError, ModelError
from stc.models.folder import count_parameters
from stc.models.layer_removal import check_reload, drop_layers
from stc.models.load_and_save import Translator, load, save
from stc.quantization import methods, quantizer, quantizer_of

# Where the weights of a part are in a folder, and the element type of what is packed, by method.
PLACES = {
    "encoder": "audio_tower.",
    "projector": "multi_modal_projector.",
    "decoder": "language_model.model.layers.",
}
PACKED = {"nf4": torch.uint8, "int8": torch.int8}
STATES = (".absmax", ".nested_absmax", ".quant_state.bitsandbytes__nf4", ".SCB")


@pytest.fixture(scope="module", params=methods())
def packed(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model packed by each method, in a folder named as the method."""
    folder = tmp_path_factory.mktemp("packed") / request.param
    save(load(tiny_model, device="cpu", dtype="bfloat16", quantize=quantizer({"method": request.param})), folder)
    return folder


def test_plain_transformers_computes_what_stc_computes(
    packed: Path, plain_logits: Callable[[Path, str], torch.Tensor], logits: Callable[[Translator], torch.Tensor]
) -> None:
    assert torch.equal(plain_logits(packed, "bfloat16"), logits(load(packed, device="cpu", dtype="bfloat16")))


def test_linear_layers_are_packed_and_the_rest_is_bfloat16(packed: Path) -> None:
    method = quantizer({"method": packed.name})
    weights = {
        name: tensor.dtype
        for name, tensor in load_file(packed / "model.safetensors").items()
        if not method.is_state(name)
    }
    found = {name for name, dtype in weights.items() if dtype == PACKED[packed.name]}
    assert "audio_tower.layers.0.fc1.weight" in found
    assert "multi_modal_projector.linear.weight" in found
    assert "language_model.model.layers.5.mlp.down_proj.weight" in found
    plain = {name: dtype for name, dtype in weights.items() if name not in found}
    assert set(plain.values()) == {torch.bfloat16}
    assert {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"} < plain.keys()


def test_packed_model_can_be_pruned(packed: Path, tmp_path: Path) -> None:
    translator = load(packed, device="cpu", dtype="float32")
    drop_layers(translator, "decoder", [1, 3])
    save(translator, tmp_path / "pruned")
    check_reload(translator, tmp_path / "pruned")


def test_missing_quantization_state_is_named(packed: Path, tmp_path: Path) -> None:
    weights = load_file(packed / "model.safetensors")
    layer = "language_model.model.layers.1.mlp.up_proj."
    states = [name for name in weights if name.startswith(layer) and name.endswith(STATES)]
    assert states
    for state in states:
        folder = Path(shutil.copytree(packed, tmp_path / state))
        left = {name: tensor for name, tensor in weights.items() if name != state}
        save_file(left, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=state):
            load(folder, device="cpu", dtype="float32")


def test_quantizing_twice_is_refused(packed: Path) -> None:
    with pytest.raises(ModelError, match="already"):
        load(packed, device="cpu", dtype="bfloat16", quantize=quantizer({"method": packed.name}))


def packed_parts(folder: Path, method: str) -> set[str]:
    known = quantizer({"method": method})
    packed = [
        name
        for name, tensor in load_file(folder / "model.safetensors").items()
        if tensor.dtype == PACKED[method] and not known.is_state(name)
    ]
    assert all(name.startswith(tuple(PLACES.values())) for name in packed)
    return {part for part, place in PLACES.items() if any(name.startswith(place) for name in packed)}


def test_unknown_method_is_refused_with_those_known() -> None:
    with pytest.raises(ConfigError, match=r"quant.method=nf5: one of int8, nf4 \(did you mean 'nf4'\?\)"):
        quantizer({"method": "nf5"})


def test_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"quant.double_quants=true: no such key.*did you mean 'double_quant'"):
        quantizer({"method": "nf4", "double_quants": True})


def test_folder_quantized_by_another_method_is_refused() -> None:
    assert quantizer_of({}) is None
    with pytest.raises(ModelError, match="'gptq'"):
        quantizer_of({"quantization_config": {"quant_method": "gptq"}})


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("parts", [["decoder"], ["encoder", "projector"], ["encoder", "projector", "decoder"]])
def test_parts_named_are_packed_and_the_others_are_not(
    tiny_model: Path, tmp_path: Path, method: str, parts: list[str]
) -> None:
    kept = dict.fromkeys(PLACES.keys() - set(parts), "bfloat16")
    quantize = quantizer({"method": method, "parts": kept})
    translator = load(tiny_model, device="cpu", dtype="float32", quantize=quantize)
    save(translator, tmp_path / "packed")
    check_reload(translator, tmp_path / "packed")
    assert packed_parts(tmp_path / "packed", method) == set(parts)
    assert count_parameters(tmp_path / "packed").parameters == count_parameters(tiny_model).parameters


@pytest.mark.parametrize("method", methods())
def test_parts_that_are_not_packed_stay_so_in_plain_transformers(
    tiny_model: Path,
    tmp_path: Path,
    plain_logits: Callable[[Path, str], torch.Tensor],
    logits: Callable[[Translator], torch.Tensor],
    method: str,
) -> None:
    quantize = quantizer({"method": method, "parts": {"decoder": "bfloat16", "projector": "bfloat16"}})
    save(load(tiny_model, device="cpu", dtype="bfloat16", quantize=quantize), tmp_path / "packed")
    expected = logits(load(tiny_model, device="cpu", dtype="bfloat16"))  # text alone: the encoder has no say
    assert torch.equal(plain_logits(tmp_path / "packed", "bfloat16"), expected)


def test_parts_are_packed_by_default() -> None:
    whole = {"encoder": "int8", "projector": "int8", "decoder": "int8"}
    assert quantizer({"method": "int8"}).parts == whole
    assert quantizer({"method": "int8", "parts": {"encoder": "bfloat16"}}).parts == whole | {"encoder": "bfloat16"}


def test_mixture_of_methods_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"quant\.parts\.encoder=int8: must be nf4 or bfloat16"):
        quantizer({"method": "nf4", "parts": {"encoder": "int8", "decoder": "nf4"}})


def test_unknown_part_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"quant\.parts\.decodr=nf4: no such part.*did you mean 'decoder'"):
        quantizer({"method": "nf4", "parts": {"decodr": "nf4"}})


def test_packing_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one part must be nf4"):
        quantizer({"method": "nf4", "parts": dict.fromkeys(PLACES, "bfloat16")})

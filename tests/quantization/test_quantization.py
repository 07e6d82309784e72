"""What every method of quantization has in common: how it is chosen, and which parts it packs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stc.errors import ConfigError, ModelError
from stc.models.checkpoint import Translator, load, save
from stc.models.folder import count_parameters
from stc.models.surgery import check_reload
from stc.quantization import methods, quantizer, quantizer_of

# Where the weights of a part are in a folder, and the element type of what is packed, by method.
PLACES = {
    "encoder": "audio_tower.",
    "projector": "multi_modal_projector.",
    "decoder": "language_model.model.layers.",
}
PACKED = {"nf4": torch.uint8, "int8": torch.int8}


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


def test_parts_of_which_nothing_is_said_are_packed() -> None:
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

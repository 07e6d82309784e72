from pathlib import Path

import pytest

from stc.models.folder import count_parameters
from stc.models.load_and_save import load, save
from stc.quantization import quantizer


def test_counts_of_a_folder_are_those_of_the_model(tiny_model: Path) -> None:
    model = load(tiny_model, device="cpu", dtype="float32").model
    counts = count_parameters(tiny_model)
    assert counts.parameters == counts.packed_elements == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("quant", "packed"),
    [
        ({"method": "nf4", "double_quant": True}, 0.7),
        ({"method": "nf4", "double_quant": False}, 0.7),
        ({"method": "nf4", "parts": {"encoder": "bfloat16"}}, 0.9),
        ({"method": "int8"}, 1),
    ],
)
def test_quantizing_packs_elements_and_keeps_parameters(
    tiny_model: Path, tmp_path: Path, quant: dict[str, object], packed: float
) -> None:
    quantize = quantizer(quant)
    translator = load(tiny_model, device="cpu", dtype="bfloat16", quantize=quantize)
    save(translator, tmp_path / "packed")
    counts = count_parameters(tmp_path / "packed")
    assert counts.parameters == count_parameters(tiny_model).parameters
    assert counts.packed_elements == sum(weight.numel() for weight in translator.model.parameters())
    assert counts.packed_elements <= packed * counts.parameters

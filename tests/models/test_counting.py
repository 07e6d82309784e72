from pathlib import Path

import pytest

from stc.models.checkpoint import load, save
from stc.models.counting import count_parameters
from stc.quantization import quantizer


def test_counts_of_a_folder_are_those_of_the_model(tiny_model: Path) -> None:
    model = load(tiny_model, device="cpu", dtype="float32").model
    counts = count_parameters(tiny_model)
    assert counts.parameters == counts.packed_elements == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("double_quant", [True, False])
def test_quantizing_packs_elements_and_keeps_parameters(tiny_model: Path, tmp_path: Path, double_quant: bool) -> None:
    quantize = quantizer({"method": "nf4", "double_quant": double_quant})
    translator = load(tiny_model, device="cpu", dtype="bfloat16", quantize=quantize)
    save(translator, tmp_path / "nf4")
    counts = count_parameters(tmp_path / "nf4")
    assert counts.parameters == count_parameters(tiny_model).parameters
    assert counts.packed_elements == sum(weight.numel() for weight in translator.model.parameters())
    assert counts.packed_elements < 0.7 * counts.parameters

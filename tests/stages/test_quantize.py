from pathlib import Path

import pytest
from pydantic import ValidationError

from stc.models.folder import count_parameters
from stc.pipeline.stage import Context
from stc.quantization import methods
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_facts_are_those_of_the_folder(tiny_model: Path, tmp_path: Path, ctx: Context, dtype: str, method: str) -> None:
    stage = Quantize.model_validate({"dtype": dtype, "quant": {"method": method}})
    facts = stage.run({"model": Artifact(Kind.MODEL, tiny_model, "a")}, tmp_path / "out", ctx)
    counts = count_parameters(tmp_path / "out")
    assert facts == {
        "decoder_layers": 6,
        "parameters": counts.parameters,
        "packed_elements": counts.packed_elements,
        "weight_bytes": (tmp_path / "out" / "model.safetensors").stat().st_size,
    }
    assert facts["weight_bytes"] < (tiny_model / "model.safetensors").stat().st_size


def test_settings_left_out_are_part_of_the_config() -> None:
    stage = Quantize.model_validate({"dtype": "bfloat16", "quant": {"method": "nf4"}})
    parts = {"encoder": "nf4", "projector": "nf4", "decoder": "nf4"}
    assert stage.model_dump()["quant"] == {"method": "nf4", "double_quant": True, "parts": parts}


@pytest.mark.parametrize("quant", [{"method": "nf5"}, {}, {"method": "nf4", "bits": 3}, "nf4"])
def test_faulty_settings_are_refused_before_anything_runs(quant: object) -> None:
    with pytest.raises(ValidationError, match="quant"):
        Quantize.model_validate({"dtype": "bfloat16", "quant": quant})

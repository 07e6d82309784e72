from pathlib import Path

import pytest

from stc.errors import ModelError
from stc.models.checkpoint import load
from stc.models.counting import count_parameters
from stc.stage import Artifact, Context, Kind
from stc.stages.prune import Prune


def inputs(model: Path, layers: list[int]) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, model, "a"),
        "ranking": Artifact(Kind.RANKING, model, "b", {"layers_removed": layers}),
    }


def test_facts_are_those_of_the_folder(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    facts = Prune(dtype="float32").run(inputs(tiny_model, [2, 4]), tmp_path / "out", ctx)
    translator = load(tmp_path / "out", device="cpu", dtype="float32")
    assert facts == {
        "decoder_layers": 4,
        "layers_removed": [2, 4],
        "parameters": sum(weight.numel() for weight in translator.model.parameters()),
    }
    assert facts["parameters"] < count_parameters(tiny_model).parameters


def test_protected_layer_in_a_ranking_is_refused(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    with pytest.raises(ModelError, match="layer 5 cannot be removed"):
        Prune(dtype="bfloat16").run(inputs(tiny_model, [2, 5]), tmp_path / "out", ctx)


def test_ranking_counts_by_its_set_of_layers() -> None:
    assert Prune.TAKES["ranking"].by == "layers_removed"

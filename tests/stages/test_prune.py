from pathlib import Path

import pytest

from stc.errors import ModelError
from stc.models.architecture import Stack
from stc.models.folder import count_parameters
from stc.models.layer_ranking import Layer, Removal
from stc.models.load_and_save import load
from stc.pipeline.stage import Context
from stc.stages.prune import Prune
from stc.store.artifact import Artifact, Kind


def inputs(model: Path, decoder: list[int], encoder: list[int] | None = None) -> dict[str, Artifact]:
    of: dict[Stack, int] = {"decoder": 6} if encoder is None else {"decoder": 6, "encoder": 5}
    order: list[Layer] = [("decoder", layer) for layer in decoder]
    order += [("encoder", layer) for layer in encoder or []]
    return {
        "model": Artifact(Kind.MODEL, model, "a"),
        "ranking": Artifact(Kind.RANKING, model, "b", Removal(of, tuple(order)).facts()),
    }


def test_facts_are_those_of_the_folder(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    facts = Prune(dtype="float32").run(inputs(tiny_model, [4, 2]), tmp_path / "out", ctx)
    translator = load(tmp_path / "out", device="cpu", dtype="float32")
    assert facts == {
        "decoder_layers": 4,
        "encoder_layers": 2,
        "layers_removed": [2, 4],
        "encoder_layers_removed": [],
        "parameters": sum(weight.numel() for weight in translator.model.parameters()),
    }
    assert facts["parameters"] < count_parameters(tiny_model).parameters


def test_layers_of_both_stacks_are_removed(planted_model: Path, tmp_path: Path, ctx: Context) -> None:
    facts = Prune(dtype="float32").run(inputs(planted_model, [3], [2, 1]), tmp_path / "out", ctx)
    assert (facts["decoder_layers"], facts["encoder_layers"]) == (5, 3)
    assert (facts["layers_removed"], facts["encoder_layers_removed"]) == ([3], [1, 2])


def test_pruning_in_two_steps_gives_the_model_of_one(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    stage = Prune(dtype="float32")
    once = stage.run(inputs(tiny_model, [4, 2, 1]), tmp_path / "once", ctx)
    stage.run(inputs(tiny_model, [4]), tmp_path / "first", ctx)
    twice = stage.run(inputs(tmp_path / "first", [4, 2, 1]), tmp_path / "twice", ctx)
    assert twice == once
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("once", "twice")]
    assert weights[0] == weights[1]


def test_protected_layer_in_a_ranking_is_refused(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    with pytest.raises(ModelError, match="layer 5 cannot be removed"):
        Prune(dtype="bfloat16").run(inputs(tiny_model, [2, 5]), tmp_path / "out", ctx)


def test_ranking_counts_by_its_sets_of_layers() -> None:
    assert Prune.TAKES["ranking"].by == ("layers_removed", "encoder_layers_removed")

from pathlib import Path

import pytest
from torch import nn

from stc.errors import ModelError
from stc.models.load_and_save import load
from stc.models.parts import lora_targets, part_parameters


def test_targets_are_the_linear_layers_of_the_parts_named(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    decoder = lora_targets(translator, ["decoder"])
    assert len(decoder) == 6 * 7
    assert all(name.startswith("model.language_model.layers.") for name in decoder)
    everything = lora_targets(translator, ["encoder", "projector", "decoder", "head"])
    linear = {name for name, module in translator.model.named_modules() if isinstance(module, nn.Linear)}
    assert set(everything) == linear
    assert len(everything) == len(linear)


def test_part_without_linear_layer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="embedding"):
        lora_targets(load(tiny_model, device="cpu", dtype="float32"), ["decoder", "embedding"])


def test_fixed_positions_of_the_encoder_are_not_trained(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    trained = dict(part_parameters(translator, ["encoder", "projector", "decoder", "embedding", "head"]))
    everything = dict(translator.model.named_parameters())
    assert everything.keys() - trained.keys() == {"model.audio_tower.embed_positions.weight"}
    assert len(list(part_parameters(translator, ["projector"]))) == 2

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stc.errors import ModelError
from stc.models import architecture, read_config
from stc.models.load_and_save import load, save

NORM = "language_model.model.layers.2.input_layernorm.weight"


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.fixture
def sharded(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model in several shards."""
    from transformers import Qwen2AudioForConditionalGeneration

    folder = Path(shutil.copytree(tiny_model, tmp_path / "sharded"))
    (folder / "model.safetensors").unlink()
    Qwen2AudioForConditionalGeneration.from_pretrained(tiny_model).save_pretrained(folder, max_shard_size="200KB")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder, device="cpu", dtype="float32")
    return str(caught.value)


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors") | changes
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def test_a_sharded_folder_loads_as_the_whole_one(tiny_model: Path, sharded: Path) -> None:
    assert len(list(sharded.glob("*.safetensors"))) > 1
    one, other = (load(each, device="cpu", dtype="float32").model.state_dict() for each in (tiny_model, sharded))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_missing_shard_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert shard.name in refused(sharded)


def test_tensor_listed_but_not_there_is_named(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["audio_tower.invented"] = next(iter(content["weight_map"].values()))
    index.write_text(json.dumps(content))
    assert "audio_tower.invented" in refused(sharded)


@pytest.mark.parametrize("left", [5, 300, -7])
def test_truncated_file_is_named(copy: Path, left: int) -> None:
    path = copy / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:left])
    assert f"{path} is cut short" in refused(copy)


def test_missing_key_is_named(copy: Path) -> None:
    edit_weights(copy, **{NORM: None})
    assert "layers.2.input_layernorm.weight" in refused(copy)


def test_extra_key_is_named(copy: Path) -> None:
    edit_weights(copy, **{NORM.replace("2", "77"): torch.ones(64)})
    assert "layers.77.input_layernorm.weight" in refused(copy)


def test_weight_of_another_shape_is_named(copy: Path) -> None:
    edit_weights(copy, **{NORM: torch.ones(63)})
    message = refused(copy)
    assert "layers.2.input_layernorm.weight [63] for [64]" in message


def test_pickled_weights_are_refused(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert "pytorch_model.bin" in refused(copy)


def test_folder_without_processor_is_refused(copy: Path) -> None:
    for path in (*copy.glob("*token*"), *copy.glob("*processor*")):
        path.unlink()
    assert "processor" in refused(copy)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": 7}'])
def test_unusable_config_is_refused(copy: Path, content: str | None) -> None:
    path = copy / "config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(copy)


def test_unknown_family_is_refused_with_those_known() -> None:
    with pytest.raises(ModelError, match=r"'qwen2_audi'.*qwen2_audio"):
        architecture("qwen2_audi")


def test_saving_keeps_every_bit_whatever_the_precision_of_computing(tiny_model: Path, tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        save(load(tiny_model, device="cpu", dtype=dtype), tmp_path / dtype)
        before, after = (load_file(each / "model.safetensors") for each in (tiny_model, tmp_path / dtype))
        assert before.keys() == after.keys()
        assert all(tensor.dtype == torch.bfloat16 and torch.equal(tensor, after[k]) for k, tensor in before.items())
        assert read_config(tmp_path / dtype) == read_config(tiny_model)


def test_weights_are_named_as_in_published_checkpoints(tiny_model: Path) -> None:
    with safe_open(tiny_model / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert {"audio_tower.conv1.weight", "multi_modal_projector.linear.weight", "language_model.lm_head.weight"} < names
    assert {NORM, "language_model.model.embed_tokens.weight"} < names
    assert not [name for name in names if name.startswith("language_model.model.model.")]


def test_saved_folder_names_no_path(tiny_model: Path, tmp_path: Path) -> None:
    save(load(tiny_model, device="cpu", dtype="float32"), tmp_path / "saved")
    for path in (tmp_path / "saved").glob("*.json"):
        assert str(tiny_model.parent) not in path.read_text()

"""What a model folder consists of: one set of weights, what its config describes, and nothing that is put on unseen."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.errors import ModelError
from stc.models import read_config
from stc.models.folder import INDEX, SINGLE, ModelFolder
from stc.models.load_and_save import load

NORM = "language_model.model.norm.weight"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        ModelFolder.of(folder)
    return str(caught.value)


def in_shards(folder: Path) -> None:
    weights = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    names = list(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_file({name: weights[name] for name in own}, folder / shard, {"format": "pt"})
    listed = {name: shard for shard, own in shards.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": listed}))


def edit_index(folder: Path, edit: Callable[[dict[str, str]], None]) -> None:
    content = json.loads((folder / INDEX).read_text())
    edit(content["weight_map"])
    (folder / INDEX).write_text(json.dumps(content))


def edit_config(folder: Path, **changes: Any) -> None:
    """Set fields by section and name, ``text_config__head_dim=0``; at the top where there is no section."""
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        (config[section] if section else config)[name] = value
    (folder / "config.json").write_text(json.dumps(config))


def write_header(file: Path, header: Any) -> None:
    content = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(content)) + content + bytes(64))


def test_bytes_on_disk_are_those_of_the_weights_alone(folder: Path, tiny_model: Path) -> None:
    (folder / "original").mkdir()
    shutil.copy(folder / SINGLE, folder / "original" / SINGLE)
    (folder / "pytorch_model.bin").write_bytes(bytes(100))
    assert (
        ModelFolder.of(folder).weight_bytes
        == ModelFolder.of(tiny_model).weight_bytes
        == (tiny_model / SINGLE).stat().st_size
    )


def test_files_of_a_model_are_the_loaded_ones(folder: Path) -> None:
    before = ModelFolder.of(folder).files
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    for name in ("pytorch_model.bin", "modeling.py", "optimizer.pt", ".hidden.json"):
        (folder / name).write_bytes(b"{}")
    assert ModelFolder.of(folder).files == before
    assert {"config.json", SINGLE, "tokenizer.json", "chat_template.jinja"} <= {file.name for file in before}


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model.fp16.safetensors", "adapter_model.safetensors"])
@pytest.mark.parametrize("sharded", [False, True])
def test_weights_beside_the_weights_are_refused_by_name(folder: Path, name: str, sharded: bool) -> None:
    if sharded:
        in_shards(folder)
    save_file({"a": torch.zeros(2)}, folder / name)
    assert name in refused(folder)


def test_one_file_beside_an_index_is_refused(folder: Path, tiny_model: Path) -> None:
    in_shards(folder)
    assert len(ModelFolder.of(folder).weight_files) == 2
    shutil.copy(tiny_model / SINGLE, folder / SINGLE)
    assert SINGLE in refused(folder)


@pytest.mark.parametrize("place", ["../{}", "sub/{}", "/elsewhere/{}", "{}.bin"])
def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path, place: str) -> None:
    in_shards(folder)
    edit_index(folder, lambda listed: listed.update({NORM: place.format(listed[NORM])}))
    assert INDEX in refused(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {"a": 7}}', "[" * 10_000])
def test_an_index_of_another_shape_is_named(folder: Path, content: str) -> None:
    in_shards(folder)
    (folder / INDEX).write_text(content)
    assert INDEX in refused(folder)


def test_a_weight_in_two_shards_is_named(folder: Path) -> None:
    in_shards(folder)
    first, second = sorted(folder.glob("*.safetensors"))
    one, two = load_file(first), load_file(second)
    name = next(iter(one))
    save_file({**two, name: one[name]}, second, {"format": "pt"})
    assert name in refused(folder)


@pytest.mark.parametrize("base", ["somebody/else", None])
def test_an_adapter_beside_the_weights_is_refused(folder: Path, base: str | None) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    assert "adapter_config.json" in refused(folder)
    (folder / "config.json").unlink()
    assert "adapter" in refused(folder)


def test_an_adapter_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "adapter").symlink_to(tmp_path / "elsewhere")
    assert "adapter" in refused(folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"peft_type": "IA3"}', '{"peft_type": "LORA", "r": "4"}'])
def test_invalid_adapter_config_is_named(folder: Path, content: str) -> None:
    (folder / "adapter").mkdir()
    save_file({"a": torch.zeros(2)}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(content)
    assert "adapter_config.json" in refused(folder)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 1},
        {"a": {"shape": [4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}},
        {"a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}},
        {name: {"dtype": "F32", "shape": [4], "data_offsets": [at, at + 16]} for name, at in (("a", 0), ("b", 8))},
        {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}},
    ],
)
def test_invalid_header_is_named(folder: Path, header: Any) -> None:
    write_header(folder / SINGLE, header)
    assert str(folder / SINGLE) in refused(folder)


def test_weights_that_are_a_pipe_are_refused_at_once(folder: Path) -> None:
    (folder / SINGLE).unlink()
    os.mkfifo(folder / SINGLE)
    assert str(folder / SINGLE) in refused(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float8_e4m3fn])
def test_weights_of_a_type_that_needs_scales_are_named(folder: Path, dtype: torch.dtype) -> None:
    weights = load_file(folder / SINGLE)
    save_file({**weights, NORM: weights[NORM].to(dtype)}, folder / SINGLE, {"format": "pt"})
    assert NORM in refused(folder)


def test_weights_in_half_precision_are_the_model(folder: Path, tiny_model: Path) -> None:
    weights = load_file(folder / SINGLE)
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / SINGLE, {"format": "pt"})
    half, own = (load(each, device="cpu", dtype="float32").model.lm_head.weight for each in (folder, tiny_model))
    assert torch.allclose(half, own, atol=1e-6)


@pytest.mark.parametrize("value", [10**9, 0, -1, "6", 6.5, True, float("nan"), [6]])
@pytest.mark.parametrize(
    "field",
    [
        "text_config__num_hidden_layers",
        "text_config__hidden_size",
        "text_config__num_attention_heads",
        "text_config__vocab_size",
        "audio_config__encoder_layers",
        "audio_config__max_source_positions",
    ],
)
def test_impossible_count_is_refused_by_name(folder: Path, field: str, value: Any) -> None:
    edit_config(folder, **{field: value})
    with pytest.raises(ModelError, match=field.replace("__", ".")):
        read_config(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text_config__model_type": "gemma2"}, "text_config.model_type"),
        ({"text_config__num_attention_heads": 3}, "hidden_size"),
        ({"text_config__num_key_value_heads": 4}, "num_attention_heads"),
        ({"text_config__layer_types": ["full_attention"]}, "layer_types"),
        ({"text_config__layer_types": ["sliding_attention"] * 6}, "use_sliding_window"),
        ({"text_config__layer_types": ["linear_attention"] * 6}, "layer_types"),
        ({"text_config__rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"text_config": 7}, "text_config"),
        ({"architectures": ["LlamaForCausalLM"]}, "architectures"),
        ({"quantization_config": []}, "quantization_config"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
    ],
)
def test_a_config_whose_parts_do_not_fit_is_refused_by_name(folder: Path, changes: dict[str, Any], named: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=named):
        read_config(folder)


def test_a_config_of_far_more_than_the_weights_is_refused_before_room_is_made(folder: Path) -> None:
    edit_config(folder, text_config__hidden_size=2**20, text_config__vocab_size=2**24)
    with pytest.raises(ModelError, match="parameters"):
        load(folder, device="cpu", dtype="float32")


def test_a_model_that_generate_decodes_has_another_identity_than_its_files_alone(folder: Path) -> None:
    assert ModelFolder.of(folder).versions == {}
    layers = ["full_attention"] * 5 + ["sliding_attention"]
    sliding = {"use_sliding_window": True, "sliding_window": 4, "layer_types": layers}
    edit_config(folder, **{f"text_config__{name}": value for name, value in sliding.items()})
    assert ModelFolder.of(folder).versions

"""Whether vLLM can load an export, by what its source asks of a Qwen2-Audio folder.

Checked against the source of the versions below and not run: vLLM needs a GPU and an environment of its own.
docs/export.md says what was read where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import PositiveInt
from typing_extensions import TypedDict

from stc.export.source import Form
from stc.models import read_config
from stc.models.folder import ModelFolder
from stc.models.weights import attached_adapter, some
from stc.quantization import stored_with
from stc.system.read_files import read_json, shaped

VERSION = "0.33.0"
MODEL_TYPE = "qwen2_audio"
ARCHITECTURE = "Qwen2AudioForConditionalGeneration"

WINDOW = 3000
"""Frames of a log-mel spectrogram vLLM's input schema of Qwen2-Audio demands: 30 seconds."""

# What vLLM's loader finds a place for. The encoder is transformers' own class there, so its names are those that
# transformers loads; the decoder is vLLM's Qwen2, whose names are listed.
ENCODER = "audio_tower."
PROJECTOR = ("multi_modal_projector.linear.weight", "multi_modal_projector.linear.bias")
DECODER = ("language_model.model.embed_tokens.weight", "language_model.model.norm.weight")
HEAD = "language_model.lm_head.weight"
LAYER = tuple(
    [f"self_attn.{name}_proj.{kind}" for name in "qkv" for kind in ("weight", "bias")]
    + ["self_attn.o_proj.weight"]
    + [f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    + ["input_layernorm.weight", "post_attention_layernorm.weight"]
)


def refusals(folder: Path, form: Form) -> list[str] | None:
    """Why vLLM cannot load or use a folder, each reason by name; empty where nothing stands against it.

    None where the family is one whose demands were not checked.
    """
    if form == "adapter" or attached_adapter(folder):
        return [f"vLLM takes no adapters for {ARCHITECTURE}, which does not declare SupportsLoRA"]
    config = read_config(folder)
    if config["model_type"] != MODEL_TYPE:
        return None
    return list(_refusals(folder, config))


def _refusals(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    if (named := config.get("architectures")) != [ARCHITECTURE]:
        yield f"architectures is {named}, and vLLM knows {ARCHITECTURE}"
    if (packed_by := stored_with(config)) is not None:
        method = config["quantization_config"].get("quant_method")
        if packed_by.VLLM is None:
            yield f"quantization method {method!r} was not checked"
        elif packed_by.VLLM:
            yield f"quantization method {method!r} is none vLLM has for {ARCHITECTURE}: {packed_by.VLLM}"
    else:
        yield from _other_weights(folder, config)
    if (frames := _window(folder)) not in (None, WINDOW):
        yield f"audio window is {frames} frames, and vLLM takes {WINDOW} (30 s) only"
    text = config["text_config"]
    kinds = set(text.get("layer_types") or [])
    if len(kinds) > 1:
        yield f"layer_types are of {len(kinds)} kinds ({', '.join(sorted(kinds))}), which vLLM's Qwen2 does not mix"
    if (activation := text.get("hidden_act", "silu")) != "silu":
        yield f"hidden_act is {activation!r}, and vLLM's Qwen2 knows 'silu' only"


def _other_weights(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Where the names of the weights are others than vLLM's loader has places for."""
    text = config["text_config"]
    layers = range(text["num_hidden_layers"])
    wanted = {*PROJECTOR, *DECODER, *(f"language_model.model.layers.{n}.{name}" for n in layers for name in LAYER)}
    if not (text.get("tie_word_embeddings") or config.get("tie_word_embeddings")):
        wanted.add(HEAD)
    found = {name for name in ModelFolder.of(folder).tensors if not name.startswith(ENCODER)}
    if missing := sorted(wanted - found):
        yield f"weights that vLLM looks for are not there: {some(missing)}"
    if surplus := sorted(found - wanted):
        yield f"weights are there that vLLM has no place for: {some(surplus)}"


class _Window(TypedDict):
    """What decides the window of a feature extractor: seconds, samples a second, samples a frame."""

    chunk_length: PositiveInt
    sampling_rate: PositiveInt
    hop_length: PositiveInt


def _window(folder: Path) -> int | None:
    """Frames of the feature extractor's window; None where the folder says none."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        with suppress(FileNotFoundError):
            found = read_json(folder / name, dict[str, Any])
            extractor = shaped(found.get("feature_extractor", found), str(folder / name), dict[str, Any])
            if "chunk_length" not in extractor:
                continue
            window = shaped(extractor, str(folder / name), _Window)  # when loaded, the rest is computed anew from it
            return window["chunk_length"] * window["sampling_rate"] // window["hop_length"]
    return None

"""Qwen2-Audio (Chu et al. 2024, arXiv 2407.10759): a Whisper-style encoder, a linear projector, a Qwen2 decoder.

Every fact about the family is here. Module names are those of transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stc.errors import InputError, ModelError, suggestion
from stc.models.architecture import EncodedAudio, ModelDimensions, Part, Stack, VLLMRequirements
from stc.models.fast_path import FastPath
from stc.models.task import Task
from stc.system.read_files import validate_shape

if TYPE_CHECKING:
    from torch import Tensor

SYSTEM = "You are a professional translator."
SOURCE_NAMES = {"en": "English"}

Width = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Layers = Annotated[int, Field(strict=True, ge=1, le=1000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Fields that have other decoders attend otherwise. transformers' Qwen2 passes over them.
OTHER_ATTENTION = (
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "dual_chunk_attention_config",
    "attention_chunk_size",
    "qk_norm",
    "use_qk_norm",
)


class _Encoder(BaseModel):
    """The encoder's section of a config.json, with what transformers assumes where it is left out."""

    model_type: Literal["qwen2_audio_encoder"] = "qwen2_audio_encoder"
    d_model: Width = 1280
    encoder_layers: Layers = 32
    encoder_attention_heads: Width = 20
    encoder_ffn_dim: Width = 5120
    num_mel_bins: Width = 128
    max_source_positions: Width = 1500

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.d_model % self.encoder_attention_heads:
            raise ValueError(f"d_model={self.d_model} is no multiple of {self.encoder_attention_heads} heads")
        return self


class _Decoder(BaseModel):
    """The decoder's section, likewise; fields that are not known here are kept."""

    model_config = ConfigDict(extra="allow")

    model_type: Literal["qwen2"] = "qwen2"
    hidden_size: Width = 4096
    intermediate_size: Width = 22016
    num_hidden_layers: Layers = 32
    num_attention_heads: Width = 32
    num_key_value_heads: Width | None = 32
    head_dim: Width | None = None
    vocab_size: Annotated[int, Field(strict=True, ge=1, le=2**24)] = 151936
    rms_norm_eps: Positive = 1e-6
    use_sliding_window: Annotated[bool, Field(strict=True)] = False
    sliding_window: Width | None = 4096
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    max_window_layers: Annotated[int, Field(strict=True, ge=0)] = 28
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None  # as transformers 4 spells it
    rope_theta: Positive | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size={self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.num_attention_heads % self.key_heads:
            raise ValueError(f"num_attention_heads={self.num_attention_heads} is no multiple of {self.key_heads}")
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"{len(self.layer_types)} layer_types for num_hidden_layers={self.num_hidden_layers}")
        if "sliding_attention" in (self.layer_types or []) and not (self.use_sliding_window and self.sliding_window):
            raise ValueError("layer_types has sliding_attention: use_sliding_window and sliding_window are needed")
        return self

    @property
    def head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def slides(self) -> bool:
        """Whether a layer attends to a window only."""
        if self.layer_types is not None:
            return "sliding_attention" in self.layer_types
        return self.use_sliding_window and bool(self.sliding_window) and self.max_window_layers < self.num_hidden_layers

    @property
    def rope_type(self) -> str:
        rope = {**(self.rope_scaling or {}), **(self.rope_parameters or {})}
        return str(rope.get("rope_type") or rope.get("type") or "default")


class _Config(BaseModel):
    """What the family says in a config.json."""

    architectures: list[Literal["Qwen2AudioForConditionalGeneration"]] | None = None
    audio_config: _Encoder = _Encoder()
    text_config: _Decoder = _Decoder()
    audio_token_index: Annotated[int, Field(strict=True, ge=0)] = 151646


# As the published models were trained: a numbered line for each audio. transformers has the same for folders that have
# no template of their own, which it means to drop.
CHAT_TEMPLATE = (
    "{%- set audio = namespace(count=0) -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['content'] is string -%}"
    "{{ message['content'] }}"
    "{%- else -%}"
    "{%- for piece in message['content'] -%}"
    "{%- if piece['type'] == 'audio' -%}"
    "{%- set audio.count = audio.count + 1 -%}"
    "{{ 'Audio ' ~ audio.count ~ ': <|audio_bos|><|AUDIO|><|audio_eos|>\n' }}"
    "{%- else -%}"
    "{{ piece['text'] }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)

PUBLISHED = "Qwen/Qwen2-Audio-7B-Instruct"
CLASS = "Qwen2AudioForConditionalGeneration"

# What vLLM has places for in the decoder and the projector, and the frames of a spectrogram that its schema demands.
VLLM_NAMES = (
    "multi_modal_projector.linear.weight",
    "multi_modal_projector.linear.bias",
    "language_model.model.embed_tokens.weight",
    "language_model.model.norm.weight",
)
VLLM_HEAD = "language_model.lm_head.weight"
VLLM_LAYERS = "language_model.model.layers"
VLLM_LAYER = (
    *(f"self_attn.{name}_proj.{kind}" for name in "qkv" for kind in ("weight", "bias")),
    "self_attn.o_proj.weight",
    *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
)
VLLM_WINDOW = 3000

# Frames after an utterance's last that the two convolutions still see: silence, which is not zero in log-mel.
CONVOLVED = 2

# A weight's name in the model starts with the first, in a published checkpoint with the second.
STORED_PREFIXES = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.audio_tower.": "audio_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}


class Qwen2Audio(FastPath):
    model_type = "qwen2_audio"
    chat_template = CHAT_TEMPLATE
    parts: ClassVar[Mapping[Part, Sequence[str]]] = {
        "encoder": ["model.audio_tower"],
        "projector": ["model.multi_modal_projector"],
        "decoder": ["model.language_model.layers", "model.language_model.norm"],
        "embedding": ["model.language_model.embed_tokens"],
        "head": ["lm_head"],
    }
    stacks: ClassVar[Mapping[Stack, str]] = {
        "decoder": "model.language_model.layers",
        "encoder": "model.audio_tower.layers",
    }
    encoder_pooling = 2
    fixed_weights = ("model.audio_tower.embed_positions.weight",)

    def check(self, config: Mapping[str, Any], where: str) -> None:
        _read(config, where)

    def unsupported_by_engines(self, config: Mapping[str, Any]) -> str:
        text = _read(config).text_config
        found = ["layers of sliding_attention"] if text.slides else []
        if text.rope_type != "default":
            found.append(f"rope_type {text.rope_type!r}")
        found += [name for name in OTHER_ATTENTION if (text.model_extra or {}).get(name)]
        return ", ".join(found)

    def layers(self, config: Mapping[str, Any]) -> dict[Stack, int]:
        found = _read(config)
        return {"decoder": found.text_config.num_hidden_layers, "encoder": found.audio_config.encoder_layers}

    def dimensions(self, config: Mapping[str, Any]) -> ModelDimensions:
        found = _read(config)
        audio, text = found.audio_config, found.text_config
        return ModelDimensions(
            audio.max_source_positions, 2 * text.head * text.key_heads, text.vocab_size, audio.d_model
        )

    def known_config(self, hub_id: str) -> Mapping[str, Any] | None:
        return {"model_type": self.model_type, **published_config()} if hub_id == PUBLISHED else None

    def vllm(self, config: Mapping[str, Any]) -> VLLMRequirements:
        """Its encoder is transformers' own class there; its decoder is vLLM's Qwen2."""
        text = config["text_config"]
        names = {
            *VLLM_NAMES,
            *(f"{VLLM_LAYERS}.{n}.{name}" for n in range(text["num_hidden_layers"]) for name in VLLM_LAYER),
        }
        if not (text.get("tie_word_embeddings") or config.get("tie_word_embeddings")):
            names.add(VLLM_HEAD)
        kinds, activation = sorted(set(text.get("layer_types") or [])), text.get("hidden_act", "silu")
        faults = []
        if len(kinds) > 1:
            faults.append(
                f"layer_types are of {len(kinds)} kinds ({', '.join(kinds)}), which vLLM's Qwen2 does not mix"
            )
        if activation != "silu":
            faults.append(f"hidden_act is {activation!r}, and vLLM's Qwen2 knows 'silu' only")
        return VLLMRequirements(CLASS, VLLM_WINDOW, frozenset(names), "audio_tower.", tuple(faults))

    def keep_layers(self, config: Any, stack: Stack, kept: Sequence[int]) -> None:
        if stack == "encoder":
            config.audio_config.encoder_layers = len(kept)
            return
        text = config.text_config
        text.layer_types = [text.layer_types[layer] for layer in kept]
        text.num_hidden_layers = len(kept)

    def attention_inputs(
        self, layer: Any, hidden: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

        attention, normed = layer.self_attn, layer.input_layernorm(hidden)
        query, key, value = (
            project(normed).view(len(hidden), -1, attention.head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *rotation)
        return query, key, value

    def layer_output(self, layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
        hidden = hidden + layer.self_attn.o_proj(attended.flatten(1))
        output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return output

    def rotation(self, decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cosines, sines = decoder.rotary_emb(hidden, positions[None])
        return cosines[0], sines[0]

    def attention_shape(self, decoder: Any) -> tuple[int, int, float]:
        attention = decoder.layers[0].self_attn
        return decoder.config.num_key_value_heads, attention.head_dim, attention.scaling

    def stored_name(self, name: str) -> str:
        for prefix, stored in STORED_PREFIXES.items():
            if name.startswith(prefix):
                return stored + name.removeprefix(prefix)
        return name

    def conversation(self, task: Task) -> list[dict[str, Any]]:
        if task.source_lang not in SOURCE_NAMES:
            allowed = ", ".join(SOURCE_NAMES)
            raise InputError(f"source_lang={task.source_lang}: {allowed}{suggestion(task.source_lang, SOURCE_NAMES)}")
        instruction = f"Translate the {SOURCE_NAMES[task.source_lang]} speech into {task.target_name}:"
        # Templates of transformers up to 4.52 look for the key audio_url, later ones at the type.
        audio = {"type": "audio", "audio_url": "utterance.wav"}
        return [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": [audio, {"type": "text", "text": instruction}]},
        ]

    def model_class(self) -> type[Any]:
        from transformers import Qwen2AudioForConditionalGeneration

        return Qwen2AudioForConditionalGeneration

    def encode_audio(self, model: Any, batch: Mapping[str, Tensor]) -> EncodedAudio:
        import torch
        from transformers.masking_utils import create_bidirectional_mask

        tower = model.model.audio_tower
        frames = batch["feature_attention_mask"].sum(-1)
        positions, counts = tower._get_feat_extract_output_lengths(frames)
        # The first convolution keeps the number of frames, the second halves it: what attention is over.
        window = min(batch["input_features"].shape[-1] // 2, (int(frames.max()) + CONVOLVED + 1) // 2)
        place = torch.arange(window, device=frames.device)[None]
        features = batch["input_features"][..., : 2 * window]
        mask = create_bidirectional_mask(
            config=tower.config,
            inputs_embeds=features.new_zeros(len(frames), window, 1),
            attention_mask=(place < positions[:, None]).long(),
        )
        with _window(tower, window) as positions_kept:
            encoded = torch.func.functional_call(tower, positions_kept, (features,), {"attention_mask": mask})
        states = encoded.last_hidden_state
        return EncodedAudio(states[place[:, : states.shape[1]] < counts[:, None]], counts)

    def embed(self, model: Any, input_ids: Tensor, encoded: EncodedAudio) -> Tensor:
        import torch

        place = input_ids == model.config.audio_token_id
        if not torch.equal(place.sum(-1), encoded.counts):
            raise ModelError(
                f"the prompts have {place.sum(-1).tolist()} audio tokens, the encoder gives {encoded.counts.tolist()}"
            )
        embeds: Tensor = model.get_input_embeddings()(input_ids)
        audio = model.model.multi_modal_projector(encoded.states)
        return embeds.masked_scatter(place[..., None], audio.to(embeds.dtype))

    def initialise(self, model: Any) -> None:
        """Fill the encoder's positions with sinusoids (Radford et al. 2022, arXiv 2212.04356, section 2.2).

        They are no trained weight, and transformers leaves them random in a model made from a config.
        """
        import torch
        from transformers.models.whisper.modeling_whisper import sinusoids

        weight = model.model.audio_tower.embed_positions.weight
        with torch.no_grad():
            weight.copy_(sinusoids(*weight.shape))


def _read(config: Mapping[str, Any], where: str = "config.json") -> _Config:
    """A parsed config.json with what is left out, or null, filled in.

    Raises:
        ModelError: a field is not what it can be.
    """
    stated = {name: value for name, value in config.items() if value is not None}
    return validate_shape(stated, where, _Config, error=ModelError)


@contextmanager
def _window(tower: Any, positions: int) -> Iterator[dict[str, Tensor]]:
    """An encoder for audio of fewer positions than its config's window, which it would refuse.

    Yields:
        the weights it is to be called with in place of its own: the first sinusoids.
    """
    whole = tower.config.max_source_positions
    tower.config.max_source_positions = positions
    try:
        yield {"embed_positions.weight": tower.embed_positions.weight[:positions]}
    finally:
        tower.config.max_source_positions = whole


ARCHITECTURE = Qwen2Audio()


def published_config() -> dict[str, Any]:
    """The shape of Qwen2-Audio-7B-Instruct, as the fields of a ``Qwen2AudioConfig``: 8,397,094,912 parameters."""
    return {
        "audio_config": {
            "d_model": 1280,
            "encoder_layers": 32,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "num_mel_bins": 128,
            "max_source_positions": 1500,
        },
        "text_config": {
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "vocab_size": 156032,
            "bos_token_id": 151643,
            "eos_token_id": 151645,
        },
        "audio_token_index": 151646,
    }

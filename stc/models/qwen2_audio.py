"""Qwen2-Audio (Chu et al. 2024, arXiv 2407.10759): a Whisper-style encoder, a linear projector, a Qwen2 decoder.

Every fact about the family is here. Module names are those of transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stc.data.manifest import Task
from stc.errors import InputError, ModelError, nearest
from stc.models.architecture import Architecture, Extent, Heard, Part, Stack, Weight

if TYPE_CHECKING:
    from torch import Tensor

SYSTEM = "You are a professional translator."
SOURCE_NAMES = {"en": "English"}

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

# What transformers assumes where a config.json leaves it out, as the published one does.
DEFAULT_DECODER_LAYERS = 32
DEFAULT_ENCODER_LAYERS = 32

# The rest of what a config.json may leave out, by section.
DEFAULTS: dict[str, dict[str, int]] = {
    "audio_config": {"d_model": 1280, "encoder_ffn_dim": 5120, "num_mel_bins": 128, "max_source_positions": 1500},
    "text_config": {
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 151936,
    },
}
PUBLISHED = "Qwen/Qwen2-Audio-7B-Instruct"

# Frames after an utterance's last that the two convolutions still see: silence, which is not zero in log-mel.
CONVOLVED = 2

# A weight's name in the model starts with the first, in a published checkpoint with the second.
STORED_PREFIXES = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.audio_tower.": "audio_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}


class Qwen2Audio(Architecture):
    model_type = "qwen2_audio"
    encoder_pooling = 2
    chat_template = CHAT_TEMPLATE

    def decoder_layers(self, config: Mapping[str, Any]) -> int:
        return int((config.get("text_config") or {}).get("num_hidden_layers", DEFAULT_DECODER_LAYERS))

    def encoder_layers(self, config: Mapping[str, Any]) -> int:
        return int((config.get("audio_config") or {}).get("encoder_layers", DEFAULT_ENCODER_LAYERS))

    def weights(self, config: Mapping[str, Any], layers: Mapping[Stack, int]) -> list[Weight]:
        audio, text = _sections(config)
        return [
            *_encoder_weights(audio, layers["encoder"]),
            *_linear("model.multi_modal_projector.linear", audio["d_model"], text["hidden_size"], "projector"),
            *_decoder_weights(text, layers["decoder"]),
        ]

    def extent(self, config: Mapping[str, Any]) -> Extent:
        audio, text = _sections(config)
        cached = 2 * _head(text) * text["num_key_value_heads"]
        return Extent(audio["max_source_positions"], cached, text["vocab_size"], audio["d_model"])

    def published(self, hub_id: str) -> Mapping[str, Any] | None:
        return {"model_type": self.model_type, **published_config()} if hub_id == PUBLISHED else None

    def set_decoder_layers(self, config: Any, kept: Sequence[int]) -> None:
        text = config.text_config
        text.layer_types = [text.layer_types[layer] for layer in kept]
        text.num_hidden_layers = len(kept)

    def set_encoder_layers(self, config: Any, kept: Sequence[int]) -> None:
        config.audio_config.encoder_layers = len(kept)

    def set_layer_index(self, layer: Any, index: int) -> None:
        layer.self_attn.layer_idx = index

    def decoder(self, model: Any) -> Any:
        return model.get_decoder()

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

    def encoder(self, model: Any) -> Any:
        return model.model.audio_tower

    def parts(self, model: Any) -> dict[Part, list[str]]:
        return {
            "encoder": ["model.audio_tower"],
            "projector": ["model.multi_modal_projector"],
            "decoder": ["model.language_model.layers", "model.language_model.norm"],
            "embedding": ["model.language_model.embed_tokens"],
            "head": ["lm_head"],
        }

    def fixed_weights(self) -> tuple[str, ...]:
        return ("model.audio_tower.embed_positions.weight",)

    def stored_name(self, name: str) -> str:
        for prefix, stored in STORED_PREFIXES.items():
            if name.startswith(prefix):
                return stored + name.removeprefix(prefix)
        return name

    def conversation(self, task: Task) -> list[dict[str, Any]]:
        if task.source_lang not in SOURCE_NAMES:
            allowed = ", ".join(SOURCE_NAMES)
            raise InputError(f"source_lang={task.source_lang}: {allowed}{nearest(task.source_lang, SOURCE_NAMES)}")
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

    def hear(self, model: Any, batch: Mapping[str, Tensor]) -> Heard:
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
        return Heard(states[place[:, : states.shape[1]] < counts[:, None]], counts)

    def embed(self, model: Any, input_ids: Tensor, heard: Heard) -> Tensor:
        import torch

        place = input_ids == model.config.audio_token_id
        if not torch.equal(place.sum(-1), heard.counts):
            raise ModelError(
                f"the prompts have {place.sum(-1).tolist()} audio tokens, the encoder gives {heard.counts.tolist()}"
            )
        embeds: Tensor = model.get_input_embeddings()(input_ids)
        audio = model.model.multi_modal_projector(heard.states)
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


def _sections(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of the encoder and of the decoder, with what is left out filled in."""
    audio, text = ({**known, **(config.get(section) or {})} for section, known in DEFAULTS.items())
    return audio, text


def _head(text: Mapping[str, Any]) -> int:
    return int(text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"])


def _linear(name: str, inputs: int, outputs: int, part: Part, *, bias: bool = True) -> list[Weight]:
    found = [Weight(f"{name}.weight", (outputs, inputs), part, linear=True)]
    return [*found, Weight(f"{name}.bias", (outputs,), part)] if bias else found


def _norm(name: str, width: int, part: Part, *, bias: bool) -> list[Weight]:
    return [Weight(f"{name}.{kind}", (width,), part) for kind in ("weight", *(["bias"] if bias else []))]


def _encoder_weights(audio: Mapping[str, Any], layers: int) -> list[Weight]:
    part: Part = "encoder"
    tower, width = "model.audio_tower", audio["d_model"]
    found = [
        weight
        for conv, inputs in (("conv1", audio["num_mel_bins"]), ("conv2", width))
        for weight in (
            Weight(f"{tower}.{conv}.weight", (width, inputs, 3), part),
            Weight(f"{tower}.{conv}.bias", (width,), part),
        )
    ]
    found.append(Weight(f"{tower}.embed_positions.weight", (audio["max_source_positions"], width), part))
    for index in range(layers):
        layer = f"{tower}.layers.{index}"
        found += [
            *_linear(f"{layer}.self_attn.k_proj", width, width, part, bias=False),
            *_linear(f"{layer}.self_attn.v_proj", width, width, part),
            *_linear(f"{layer}.self_attn.q_proj", width, width, part),
            *_linear(f"{layer}.self_attn.out_proj", width, width, part),
            *_norm(f"{layer}.self_attn_layer_norm", width, part, bias=True),
            *_linear(f"{layer}.fc1", width, audio["encoder_ffn_dim"], part),
            *_linear(f"{layer}.fc2", audio["encoder_ffn_dim"], width, part),
            *_norm(f"{layer}.final_layer_norm", width, part, bias=True),
        ]
    return [*found, *_norm(f"{tower}.layer_norm", width, part, bias=True)]


def _decoder_weights(text: Mapping[str, Any], layers: int) -> list[Weight]:
    part: Part = "decoder"
    model, width, ffn = "model.language_model", text["hidden_size"], text["intermediate_size"]
    queries, keys = _head(text) * text["num_attention_heads"], _head(text) * text["num_key_value_heads"]
    found = [Weight(f"{model}.embed_tokens.weight", (text["vocab_size"], width), "embedding")]
    for index in range(layers):
        attention, mlp = f"{model}.layers.{index}.self_attn", f"{model}.layers.{index}.mlp"
        found += [
            *_linear(f"{attention}.q_proj", width, queries, part),
            *_linear(f"{attention}.k_proj", width, keys, part),
            *_linear(f"{attention}.v_proj", width, keys, part),
            *_linear(f"{attention}.o_proj", queries, width, part, bias=False),
            *_linear(f"{mlp}.gate_proj", width, ffn, part, bias=False),
            *_linear(f"{mlp}.up_proj", width, ffn, part, bias=False),
            *_linear(f"{mlp}.down_proj", ffn, width, part, bias=False),
            *_norm(f"{model}.layers.{index}.input_layernorm", width, part, bias=False),
            *_norm(f"{model}.layers.{index}.post_attention_layernorm", width, part, bias=False),
        ]
    found += _norm(f"{model}.norm", width, part, bias=False)
    # Whatever a config says of it, transformers ties no head of this family to its embedding.
    return [*found, *_linear("lm_head", width, text["vocab_size"], "head", bias=False)]


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

"""Qwen2-Audio (Chu et al. 2024, arXiv 2407.10759): a Whisper-style encoder, a linear projector, a Qwen2 decoder.

Module names are those of transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from stc.errors import InputError, ModelError, suggestion
from stc.models.architecture import EncodedAudio, ModelDimensions, Part, Stack, VLLMRequirements
from stc.models.engine_interface import FastPath
from stc.models.language_pair import Task
from stc.models.qwen2_audio_config import OTHER_ATTENTION, published_config, read_fields

if TYPE_CHECKING:
    from torch import Tensor

SYSTEM = "You are a professional translator."
SOURCE_NAMES = {"en": "English"}

# The published models were trained with a numbered line for each audio. transformers has the same template for folders
# without one, and announces that it will drop it.
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

# The weights of decoder and projector that vLLM loads, and the frames of a spectrogram that it requires.
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

# The two convolutions see so many frames after an utterance's last one: silence, which is not zero in log-mel.
CONVOLUTION_FRAMES = 2

# Prefix of a weight's name in the model → prefix in a published checkpoint.
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
        read_fields(config, where)

    def unsupported_by_engines(self, config: Mapping[str, Any]) -> str:
        text = read_fields(config).text_config
        found = ["layers of sliding_attention"] if text.has_sliding_window else []
        if text.rope_type != "default":
            found.append(f"rope_type {text.rope_type!r}")
        found += [name for name in OTHER_ATTENTION if (text.model_extra or {}).get(name)]
        return ", ".join(found)

    def layers(self, config: Mapping[str, Any]) -> dict[Stack, int]:
        found = read_fields(config)
        return {"decoder": found.text_config.num_hidden_layers, "encoder": found.audio_config.encoder_layers}

    def dimensions(self, config: Mapping[str, Any]) -> ModelDimensions:
        found = read_fields(config)
        audio, text = found.audio_config, found.text_config
        return ModelDimensions(
            audio.max_source_positions, 2 * text.head_width * text.key_value_heads, text.vocab_size, audio.d_model
        )

    def known_config(self, hub_id: str) -> Mapping[str, Any] | None:
        return {"model_type": self.model_type, **published_config()} if hub_id == PUBLISHED else None

    def vllm(self, config: Mapping[str, Any]) -> VLLMRequirements:
        # In vLLM, the encoder is transformers' class and the decoder is vLLM's Qwen2.
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
        # Templates of transformers up to 4.52 look for the key audio_url, later ones look at the type.
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
        # The first convolution keeps the number of frames, the second halves it. Attention is over the result.
        window = min(batch["input_features"].shape[-1] // 2, (int(frames.max()) + CONVOLUTION_FRAMES + 1) // 2)
        index = torch.arange(window, device=frames.device)[None]
        features = batch["input_features"][..., : 2 * window]
        mask = create_bidirectional_mask(
            config=tower.config,
            inputs_embeds=features.new_zeros(len(frames), window, 1),
            attention_mask=(index < positions[:, None]).long(),
        )
        # The tower refuses audio of fewer positions than its window, so the window is shortened meanwhile.
        whole = tower.config.max_source_positions
        tower.config.max_source_positions = window
        weights = {"embed_positions.weight": tower.embed_positions.weight[:window]}
        try:
            states = torch.func.functional_call(tower, weights, (features,), {"attention_mask": mask}).last_hidden_state
        finally:
            tower.config.max_source_positions = whole
        return EncodedAudio(states[index[:, : states.shape[1]] < counts[:, None]], counts)

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


ARCHITECTURE = Qwen2Audio()

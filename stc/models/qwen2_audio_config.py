"""The fields of a config.json of Qwen2-Audio, with the defaults of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stc.errors import ModelError
from stc.system.read_files import validate_shape

Width = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Layers = Annotated[int, Field(strict=True, ge=1, le=1000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Other decoders attend differently with these fields. transformers' Qwen2 ignores them.
OTHER_ATTENTION = (
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "dual_chunk_attention_config",
    "attention_chunk_size",
    "qk_norm",
    "use_qk_norm",
)


class EncoderConfig(BaseModel):
    """The section ``audio_config``."""

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


class DecoderConfig(BaseModel):
    """The section ``text_config``. Unknown fields are kept."""

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
    rope_scaling: dict[str, Any] | None = None  # the name in transformers 4
    rope_theta: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size={self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.num_attention_heads % self.key_value_heads:
            raise ValueError(f"num_attention_heads={self.num_attention_heads} is no multiple of {self.key_value_heads}")
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"{len(self.layer_types)} layer_types for num_hidden_layers={self.num_hidden_layers}")
        if "sliding_attention" in (self.layer_types or []) and not (self.use_sliding_window and self.sliding_window):
            raise ValueError("layer_types has sliding_attention: use_sliding_window and sliding_window are needed")
        return self

    @property
    def head_width(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def has_sliding_window(self) -> bool:
        if self.layer_types is not None:
            return "sliding_attention" in self.layer_types
        return self.use_sliding_window and bool(self.sliding_window) and self.max_window_layers < self.num_hidden_layers

    @property
    def rope_type(self) -> str:
        rope = {**(self.rope_scaling or {}), **(self.rope_parameters or {})}
        return str(rope.get("rope_type") or rope.get("type") or "default")


class Qwen2AudioFields(BaseModel):
    """The fields of a config.json that stc checks."""

    architectures: list[Literal["Qwen2AudioForConditionalGeneration"]] | None = None
    audio_config: EncoderConfig = EncoderConfig()
    text_config: DecoderConfig = DecoderConfig()
    audio_token_index: Annotated[int, Field(strict=True, ge=0)] = 151646


def read_fields(config: Mapping[str, Any], where: str = "config.json") -> Qwen2AudioFields:
    """Return the checked fields of a parsed config.json, with defaults for those that are missing or null.

    Raises:
        ModelError: a field has a value that it cannot have.
    """
    given = {name: value for name, value in config.items() if value is not None}
    return validate_shape(given, where, Qwen2AudioFields, error=ModelError)


def published_config() -> dict[str, Any]:
    """Return the shape of Qwen2-Audio-7B-Instruct, 8,397,094,912 parameters, as fields of a ``Qwen2AudioConfig``."""
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

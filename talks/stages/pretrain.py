"""pretrain: train a small base model from scratch, on speech with translations into several languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stc.data.manifest import Manifest
from stc.errors import Fault, field_error
from stc.models import architecture
from stc.models.layout import POSITIONS_PER_SECOND, Layout
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.training.recipe import Optimisation

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

FAMILY = "qwen2_audio"  # of the model


class Spelling(BaseModel):
    """The second objective: to spell the source text from the encoder's output (``talks/training/ctc.py``).

    Attributes:
        weight: its weight at first, relative to the translation loss.
        share: the share of the steps with this weight.
        later: its weight in the other steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(ge=0)
    share: float = Field(ge=0, le=1)
    later: float = Field(ge=0)


class StackShape(BaseModel):
    """The shape of a stack of transformer layers. ``ffn`` is the width of their feed-forward part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=8, le=8192)
    layers: int = Field(ge=1, le=128)
    heads: int = Field(ge=1, le=128)
    ffn: int = Field(ge=8, le=65536)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % (2 * self.heads):
            allowed = f"the width, {self.width}, must be a multiple of twice the heads, {self.heads}"
            raise field_error(Fault("width", self.width, allowed, others=(("heads", self.heads),)))
        return self


class Pretrain(Optimisation, Stage):
    """Trains a model from random weights.

    Facts: ``parameters``, ``steps``, ``train_loss``, and ``dev_chrf`` for each dev manifest by its label.

    Attributes:
        steps: optimizer steps.
        vocab_size: of the byte-level BPE, learnt from the targets and the prompts.
        window_seconds: the longest utterance of the model.
        mel_bins: of the log-mel spectrogram.
        spelling: the second objective.
        max_new_tokens: for the translations of the dev manifests.
    """

    NAME: ClassVar[str] = "pretrain"
    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "train": StageInput(Kind.MANIFEST, many=True),
        "dev": StageInput(Kind.MANIFEST, many=True, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.MODEL

    steps: int = Field(ge=1)
    vocab_size: int = Field(ge=300, le=200_000)
    window_seconds: int = Field(ge=1, le=30)
    mel_bins: int = Field(ge=8, le=128)
    encoder: StackShape
    decoder: StackShape
    spelling: Spelling
    max_new_tokens: int = Field(ge=1, le=1024)

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        version = architecture(FAMILY).VERSION
        return {"family_version": version} if version > 1 else {}

    def forecast(self, inputs: Mapping[str, Any]) -> Layout:
        """Return the largest layout: the vocabulary is smaller if the texts do not give enough merges."""
        config = self._config()
        config["text_config"]["vocab_size"] = self.vocab_size
        return replace(Layout.of_config({"model_type": FAMILY, **config}), largest=True)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.decoding.greedy import translate
        from stc.metrics.metric import score
        from stc.models.folder import count_parameters
        from stc.models.load_and_save import load, save
        from talks.training.from_scratch import train_from_scratch

        manifests = {label: Manifest.load(inputs["train"][label].path) for label in sorted(inputs["train"])}
        translator = self._create(list(manifests.values()), ctx)
        result = train_from_scratch(translator, list(manifests.values()), self, self.steps, self.spelling, ctx)
        save(translator, out_dir)

        saved = load(out_dir, device=ctx.device, dtype="float32")
        dev_chrf = {}
        for label, artifact in (inputs.get("dev") or {}).items():
            dev = Manifest.load(artifact.path)
            with ctx.progress(f"translating {label}", total=len(dev), unit="utterance") as bar:
                texts = translate(
                    saved, dev, batch_size=ctx.decode_batch, max_new_tokens=self.max_new_tokens, progress=bar
                )
            dev_chrf[label] = score("chrf", texts, dev.targets, dev.task.target_lang)
        return {
            "parameters": count_parameters(out_dir).parameters,
            "steps": result.steps,
            "train_loss": result.loss,
            "dev_chrf": dev_chrf,
        }

    def _create(self, manifests: Sequence[Manifest], ctx: Context) -> Translator:
        """Return a model with random weights, on the device, with its processor."""
        from stc.models.create_qwen2_audio import create
        from talks.training.from_scratch import learn_processor

        processor = learn_processor(manifests, self.vocab_size, self.window_seconds, self.mel_bins)
        weights = "bfloat16" if self.precision == "bfloat16" else "float32"
        random = ctx.scratch / "random"
        translator = create(random, config=self._config(), processor=processor, seed=self.seed, dtype=weights)
        translator.model.to(ctx.device)
        return translator

    def _config(self) -> dict[str, Any]:
        return {
            "audio_config": {
                "d_model": self.encoder.width,
                "encoder_layers": self.encoder.layers,
                "encoder_attention_heads": self.encoder.heads,
                "encoder_ffn_dim": self.encoder.ffn,
                "num_mel_bins": self.mel_bins,
                "max_source_positions": POSITIONS_PER_SECOND * self.window_seconds,
            },
            "text_config": {
                "hidden_size": self.decoder.width,
                "num_hidden_layers": self.decoder.layers,
                "num_attention_heads": self.decoder.heads,
                "num_key_value_heads": self.decoder.heads,
                "intermediate_size": self.decoder.ffn,
            },
        }

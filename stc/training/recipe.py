"""The settings of training: the fields of the stages that train, with their ranges. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stc.errors import Fault, field_error
from stc.models.architecture import Part
from stc.models.compute_options import DType
from stc.quantization import Quant, Quantizer, methods, quantizer
from stc.system.field_types import EachOnce, Seed

QLORA = "nf4"
"""The quantization method of the QLoRA paper."""


class Optimisation(BaseModel):
    """The settings of the training loop, whichever stage runs it.

    Attributes:
        batch_size: examples per optimizer step, however many forward passes that takes.
        learning_rate: the peak, reached after ``warmup_steps``, or after a tenth of the training if that has no more
            steps than the warm-up.
        schedule: what the learning rate does after the warm-up; ``cosine`` and ``linear`` end at 0.
        weight_decay: decoupled (AdamW), on matrices only.
        beta2: decay of AdamW's second moment; its beta1 is 0.9.
        optimizer: ``adamw`` keeps its moments in the type of the weights; ``adamw_8bit`` keeps them in blocks of 8
            bits (``optimizers.py``), two bytes per parameter.
        max_grad_norm: the whole gradient is clipped to this norm.
        label_smoothing: share of the target probability spread evenly over the vocabulary.
        precision: ``float32`` = weights and arithmetic; ``bfloat16-mixed`` = float32 weights, forward pass under
            bfloat16 autocast; ``bfloat16`` = weights too (small updates are then rounded away).
        seed: of the order of the data and everything drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(ge=1, le=65536)
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0, lt=1)
    beta2: float = Field(gt=0, lt=1)
    # Not in the identity of a training by plain AdamW, so that older results stay valid.
    optimizer: Literal["adamw", "adamw_8bit"] = Field(default="adamw", exclude_if=lambda name: name == "adamw")
    max_grad_norm: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    precision: Literal["float32", "bfloat16-mixed", "bfloat16"]
    seed: Seed

    def warmup(self, steps: int) -> int:
        """Return the length of the warm-up of a training of ``steps``.

        A warm-up as long as the training would never reach the learning rate, so it is shortened to a tenth.
        """
        return self.warmup_steps if self.warmup_steps < steps else steps // 10


class Lora(BaseModel):
    """Low-rank adapters (Hu et al. 2022, arXiv 2106.09685); ``rslora`` scales by alpha/√r (arXiv 2312.03732)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(ge=1, le=1024)
    alpha: int = Field(ge=1)
    rslora: bool
    dropout: float = Field(ge=0, lt=1)


class Recipe(Optimisation):
    """The settings of fine-tuning.

    Attributes:
        method: ``full`` trains whole parts, ``lora`` trains adapters, ``qlora`` trains adapters on a quantized base
            (arXiv 2305.14314).
        parts: what is trained (full), or whose linear layers get adapters; everything else is frozen.
        epochs: passes over the training data.
        patience: the training ends after this many epochs in a row that did not lower the loss on ``dev``, and the
            weights of the best epoch are taken. null: all epochs, and the last weights.
        augment: change speed, loudness and noise of the audio and some target tokens each time anew (``augment.py``).
            All the audio is then held on the device, two bytes per sample.
        lora: the adapters; given if and only if the method has some.
        quant: the quantization of the base for ``qlora``; by default that of the paper.
    """

    method: Literal["full", "lora", "qlora"]
    parts: Annotated[tuple[Part, ...], Field(min_length=1), EachOnce]
    epochs: int = Field(ge=1, le=1000)
    augment: bool = False
    patience: int | None = Field(default=None, ge=1)
    lora: Lora | None = None
    # Not in the identity of a training with the paper's quantization, so that older results stay valid.
    quant: Quant | None = Field(default=None, exclude_if=lambda quant: quant is None)

    @property
    def weights_dtype(self) -> DType:
        """The type of the model's weights, if they are not quantized. The weights of adapters have their own type."""
        narrow = self.precision == "bfloat16" if self.method == "full" else self.precision != "float32"
        return "bfloat16" if narrow else "float32"

    @property
    def base_quantizer(self) -> Quantizer | None:
        """The quantization of the base while its adapters are trained, or None."""
        if self.method != "qlora":
            return None
        return self.quant or quantizer({"method": QLORA})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        method, parts, lora = (
            ("method", self.method),
            ("parts", self.parts),
            ("lora", self.lora and self.lora.model_dump()),
        )
        faults = []
        if self.method != "full" and self.lora is None:
            allowed = f"method {self.method} needs lora: {{r, alpha, rslora, dropout}}"
            faults.append(Fault(*method, allowed, others=(lora,)))
        if self.method == "full" and self.lora is not None:
            allowed = "method full takes no lora; leave it out or set method: lora or qlora"
            faults.append(Fault(*lora, allowed, others=(method,)))
        if self.method != "full" and "embedding" in self.parts:
            allowed = f"embedding has no linear layer that method {self.method} could adapt"
            faults.append(Fault(*parts, allowed, others=(method,)))
        if self.quant is not None and self.method != "qlora":
            allowed = f"method {self.method} quantizes no base; leave it out or set method: qlora"
            faults.append(Fault("quant", self.quant.model_dump(), allowed, others=(method,)))
        elif self.quant is not None and not self.quant.TRAINABLE:
            known = [name for name in methods() if quantizer({"method": name}).TRAINABLE]
            allowed = f"adapters cannot be trained on it, only on {', '.join(known)}, or one of yours that is TRAINABLE"
            faults.append(Fault("quant.method", self.quant.method, allowed))
        if faults:
            raise field_error(*faults)
        return self

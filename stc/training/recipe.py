"""What training is told: the fields of the stages that train, with their ranges. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stc.errors import Fault, misfit
from stc.models.architecture import Part
from stc.system.fields import EachOnce, Seed


class Optimisation(BaseModel):
    """What the training loop needs, whichever stage runs it.

    Attributes:
        batch_size: examples per optimizer step, however many forward passes that takes.
        learning_rate: its peak, reached after ``warmup_steps``, or a tenth of the training where that is not longer.
        schedule: what the learning rate does after the warm-up; ``cosine`` and ``linear`` end at 0.
        weight_decay: decoupled (AdamW), on matrices only.
        beta2: decay of AdamW's second moment; its beta1 is 0.9.
        optimizer: ``adamw`` keeps its moments as wide as the weights; ``adamw_8bit`` in blocks of 8 bits
            (``optimizers.py``), two bytes a parameter.
        max_grad_norm: the norm of the whole gradient is clipped to this.
        label_smoothing: share of the target probability spread evenly over the vocabulary.
        precision: ``float32`` = weights and arithmetic; ``bfloat16-mixed`` = float32 weights, forward pass under
            bfloat16 autocast; ``bfloat16`` = weights too (small updates are then rounded away).
        seed: order of the data and everything drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(ge=1, le=65536)
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0, lt=1)
    beta2: float = Field(gt=0, lt=1)
    # A training by plain AdamW is the same as ever, and so is its identity: the field is not in it.
    optimizer: Literal["adamw", "adamw_8bit"] = Field(default="adamw", exclude_if=lambda name: name == "adamw")
    max_grad_norm: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    precision: Literal["float32", "bfloat16-mixed", "bfloat16"]
    seed: Seed

    def warmup(self, steps: int) -> int:
        """Return how many steps the warm-up of a training of ``steps`` takes: one as long as the training would never
        reach the learning rate."""
        return self.warmup_steps if self.warmup_steps < steps else steps // 10


class Lora(BaseModel):
    """Low-rank adapters (Hu et al. 2022, arXiv 2106.09685); ``rslora`` scales by alpha/√r (arXiv 2312.03732)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(ge=1, le=1024)
    alpha: int = Field(ge=1)
    rslora: bool
    dropout: float = Field(ge=0, lt=1)


class Recipe(Optimisation):
    """Fine-tuning: of whole parts (``full``), or of adapters, on the base as it is (``lora``) or on the base in 4 bits
    (``qlora``, arXiv 2305.14314).

    Attributes:
        parts: what is trained (full), or whose linear layers get adapters; everything else is frozen.
        epochs: passes over the training data.
        patience: the training ends after so many epochs in a row that did not lower the loss on ``dev``, and whenever
            it ends, the weights are those of the best epoch. null: neither.
        augment: change speed, loudness and noise of the audio and some of the target's tokens each time anew
            (``augment.py``). All the audio is then held on the device, two bytes a sample.
        lora: the adapters; given if and only if the method has some.
    """

    method: Literal["full", "lora", "qlora"]
    parts: Annotated[tuple[Part, ...], Field(min_length=1), EachOnce]
    epochs: int = Field(ge=1, le=1000)
    augment: bool = False
    patience: int | None = Field(default=None, ge=1)
    lora: Lora | None = None

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
        if faults:
            raise misfit(*faults)
        return self

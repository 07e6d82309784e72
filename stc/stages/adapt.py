"""adapt: train low-rank adapters, and keep them apart from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from stc.errors import Fault, field_error
from stc.models.layout import AdapterSize
from stc.pipeline.stage import Context, Inputs
from stc.store.artifact import Kind
from stc.training.fine_tuning import FineTuning


class Adapt(FineTuning):
    """Trains adapters and gives the folder that ``peft`` writes. ``finetune`` with the same recipe also merges them.

    The fact ``dev_loss`` is that of the adapters on the base they were trained on, which is quantized for ``qlora``.
    """

    VERSION: ClassVar[int] = 2
    GIVES: ClassVar[Kind] = Kind.ADAPTER

    @model_validator(mode="after")
    def _with_adapters(self) -> Self:
        if self.method == "full":
            raise field_error(
                Fault("method", self.method, "method full has no adapters; lora or qlora, or the stage finetune")
            )
        return self

    def forecast(self, inputs: Mapping[str, Any]) -> AdapterSize | None:
        assert self.lora is not None  # checked by the recipe
        return inputs["model"] and inputs["model"].adapters(self.lora.r, self.parts)

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Mapping[str, Any]]:
        from stc.workers.worker import current_group

        base, result, trainable = self.train_adapters(inputs, Path(work["out_dir"]), ctx)
        if current_group().is_first:
            yield self.facts(inputs, result, trainable, base, self.features("dev_features", inputs, base), ctx)

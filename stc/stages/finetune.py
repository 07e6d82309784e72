"""finetune: train whole parts of a model, or low-rank adapters that are merged into it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs
from stc.store.artifact import Kind
from stc.training.fine_tuning import FineTuning, refuse_quantized

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator
    from stc.training.loop import TrainingResult


class Finetune(FineTuning):
    """Gives a plain bfloat16 folder, with every method."""

    VERSION: ClassVar[int] = 4
    GIVES: ClassVar[Kind] = Kind.MODEL

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        return inputs["model"] and inputs["model"].in_bfloat16()

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        yield from super().unused_inputs(given)
        if self.method != "full" and self.patience is None:
            yield "dev_features"  # the final loss is that of the merged model, in bfloat16

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Mapping[str, Any]]:
        from stc.models.adapters import merge
        from stc.models.load_and_save import load, save
        from stc.workers.worker import current_group

        full = self.method == "full"
        adapter = ctx.scratch / "adapter"
        if full:
            translator, result, trainable = self._train_parts(inputs, ctx)
        else:
            # Only one base at a time: two of 7B need not fit.
            result, trainable = self.train_adapters(inputs, adapter, ctx)[1:]
        if not current_group().is_first:
            return
        if not full:
            translator = load(inputs["model"].path, device=ctx.device, dtype="bfloat16")
            merge(translator, adapter)
        save(translator, Path(work["out_dir"]))
        dev_features = self.features("dev_features", inputs, translator) if full else None
        yield self.facts(inputs, result, trainable, translator, dev_features, ctx)

    def _train_parts(self, inputs: Inputs, ctx: Context) -> tuple[Translator, TrainingResult, int]:
        from stc.models.load_and_save import load
        from stc.training.fit_translator import select_trainable

        refuse_quantized(inputs["model"])
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.weights_dtype)
        parameters = select_trainable(translator, self.parts)
        result = self.fit(translator, parameters, inputs, ctx)
        return translator, result, sum(parameter.numel() for parameter in parameters)

"""Fine-tune a model on a manifest: whole parts of it, or low-rank adapters that are merged into it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.data.manifest import Manifest
from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs
from stc.store.artifact import Kind
from stc.training.fine_tuning import FineTuning, refuse_quantized

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator
    from stc.training.translator import FitResult


class Finetune(FineTuning):
    """Gives a plain bfloat16 folder, whichever the method."""

    VERSION: ClassVar[int] = 4
    GIVES: ClassVar[Kind] = Kind.MODEL

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        return inputs["model"] and inputs["model"].plain()

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        yield from super().unused_inputs(given)
        if self.method != "full" and self.patience is None:
            yield "dev_features"  # the loss at the end is that of the merged model, which is in bfloat16

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[Mapping[str, Any]]:
        from stc.models.checkpoint import save
        from stc.training.translator import HeldOut
        from stc.workers.worker import current_group

        tune = self._whole if self.method == "full" else self._adapters
        tuned, fitted, trainable = tune(inputs, ctx)
        if not current_group().is_first:
            return
        translator = tuned()
        save(translator, Path(work["out_dir"]))
        facts = self.facts(inputs, fitted, trainable)
        if dev := inputs.get("dev"):
            features = self.features("dev_features", inputs, translator) if self.method == "full" else None
            facts["dev_loss"] = HeldOut(translator, Manifest.load(dev.path), ctx, features).loss()
        yield facts

    def _whole(self, inputs: Inputs, ctx: Context) -> tuple[Callable[[], Translator], FitResult, int]:
        from stc.models.checkpoint import load
        from stc.training.translator import select_trainable

        refuse_quantized(inputs["model"])
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.weights_dtype)
        parameters = select_trainable(translator, self.parts)
        fitted = self.fit(translator, parameters, inputs, ctx)
        return lambda: translator, fitted, sum(parameter.numel() for parameter in parameters)

    def _adapters(self, inputs: Inputs, ctx: Context) -> tuple[Callable[[], Translator], FitResult, int]:
        from stc.models.adapters import merge
        from stc.models.checkpoint import load

        trained = ctx.scratch / "adapter"
        # The base is let go at once: two of 7B side by side need not fit.
        fitted, trainable = self.train_adapters(inputs, trained, ctx)[1:]

        def merged() -> Translator:
            base = load(inputs["model"].path, device=ctx.device, dtype="bfloat16")
            merge(base, trained)
            return base

        return merged, fitted, trainable

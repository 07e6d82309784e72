"""Fine-tune a model on a manifest: whole parts of it, or low-rank adapters that are merged into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.data.manifest import Manifest
from stc.stage import Context, Inputs, Kind
from stc.training.tuning import Tuning, refuse_quantized

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator
    from stc.training.translation import Fitted


class Finetune(Tuning):
    """Gives a plain bfloat16 folder, whichever the method."""

    VERSION: ClassVar[int] = 3
    GIVES: ClassVar[Kind] = Kind.MODEL

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models.checkpoint import save
        from stc.training.translation import HeldOut

        refuse_quantized(inputs["model"])
        tune = self._whole if self.method == "full" else self._adapters
        translator, fitted, trainable = tune(inputs, ctx)
        save(translator, out_dir)
        facts = self.facts(inputs, fitted, trainable)
        if dev := inputs.get("dev"):
            facts["dev_loss"] = HeldOut(translator, Manifest.load(dev.path), ctx).loss()
        return facts

    def _whole(self, inputs: Inputs, ctx: Context) -> tuple[Translator, Fitted, int]:
        from stc.models.checkpoint import load
        from stc.training.translation import select

        weights = "bfloat16" if self.precision == "bfloat16" else "float32"
        translator = load(inputs["model"].path, device=ctx.device, dtype=weights)
        parameters = select(translator, self.parts)
        fitted = self.fit(translator, parameters, inputs, ctx)
        return translator, fitted, sum(parameter.numel() for parameter in parameters)

    def _adapters(self, inputs: Inputs, ctx: Context) -> tuple[Translator, Fitted, int]:
        from stc.models.adapters import merge
        from stc.models.checkpoint import load
        from stc.training.adapters import adapter_parameters, add_adapters, load_base, save_adapters

        base = load_base(inputs["model"].path, self, ctx.device)
        wrapped = add_adapters(base, self)
        parameters = adapter_parameters(wrapped)
        fitted = self.fit(base, parameters, inputs, ctx)
        trainable = sum(parameter.numel() for parameter in parameters)
        trained = ctx.scratch / "adapter"
        save_adapters(wrapped, trained)
        del base, wrapped, parameters  # two bases of 7B side by side need not fit

        merged = load(inputs["model"].path, device=ctx.device, dtype="bfloat16")
        merge(merged, trained)
        return merged, fitted, trainable

"""Fine-tune a model on a manifest: whole parts of it, or low-rank adapters on a 4-bit base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.data.manifest import Manifest
from stc.errors import ModelError
from stc.stage import Context, Inputs, Kind, Stage, Takes
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator
    from stc.training.loop import Outcome


class Finetune(Recipe, Stage):
    """Gives a plain bfloat16 folder, whichever the method."""

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {
        "model": Takes(Kind.MODEL),
        "train": Takes(Kind.MANIFEST),
        "dev": Takes(Kind.MANIFEST, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.MODEL

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models import read_config
        from stc.models.checkpoint import save
        from stc.models.counting import count_parameters
        from stc.quantization import stored_with
        from stc.training.translation import held_out_loss

        folder = inputs["model"].path
        if stored_with(read_config(folder)) is not None:
            raise ModelError(
                f"{folder} is quantized: fine-tuning starts from bfloat16 weights, qlora packs them itself"
            )
        manifest = Manifest.load(inputs["train"].path)
        train = self._full if self.method == "full" else self._qlora
        translator, outcome, trainable = train(folder, manifest, ctx)
        save(translator, out_dir)

        added = trainable if self.method == "qlora" else 0
        facts = {
            "trainable_parameters": trainable,
            "trainable_share": trainable / (count_parameters(folder).parameters + added),
            "steps": outcome.steps,
            "train_loss": outcome.loss,
        }
        if dev := inputs.get("dev"):
            facts["dev_loss"] = held_out_loss(translator, Manifest.load(dev.path), ctx)
        return facts

    def _full(self, folder: Path, manifest: Manifest, ctx: Context) -> tuple[Translator, Outcome, int]:
        from stc.models.checkpoint import load
        from stc.training.translation import fit, select

        weights = "bfloat16" if self.precision == "bfloat16" else "float32"
        translator = load(folder, device=ctx.device, dtype=weights)
        parameters = select(translator, self.parts)
        outcome = fit(translator, parameters, manifest, self, ctx)
        return translator, outcome, sum(parameter.numel() for parameter in parameters)

    def _qlora(self, folder: Path, manifest: Manifest, ctx: Context) -> tuple[Translator, Outcome, int]:
        from stc.models.checkpoint import load
        from stc.quantization.nf4 import NF4
        from stc.training.adapters import adapter_parameters, adapter_state, add_adapters, merge_adapters
        from stc.training.translation import fit

        compute = "float32" if self.precision == "float32" else "bfloat16"
        base = load(folder, device=ctx.device, dtype=compute, quantize=NF4(double_quant=True))
        wrapped = add_adapters(base, self)
        parameters = adapter_parameters(wrapped)
        outcome = fit(base, parameters, manifest, self, ctx)
        trainable = sum(parameter.numel() for parameter in parameters)
        state = adapter_state(wrapped)
        del base, wrapped, parameters  # two bases of 7B side by side need not fit

        merged = load(folder, device=ctx.device, dtype="bfloat16")
        merge_adapters(merged, self, state)
        return merged, outcome, trainable

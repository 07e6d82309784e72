"""Fine-tune a model on a manifest: whole parts of it, or low-rank adapters on a 4-bit base."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.data.manifest import Manifest
from stc.errors import InputError, ModelError
from stc.stage import Context, Inputs, Kind, Stage, Takes
from stc.training.recipe import Recipe, TokenDistillation

if TYPE_CHECKING:
    from torch import nn

    from stc.models.checkpoint import Translator
    from stc.training.loop import Outcome


class Finetune(Recipe, Stage):
    """Gives a plain bfloat16 folder, whichever the method.

    ``teacher`` is the model that ``distillation`` learns from. To compare hidden states, one has to know which of its
    layers the model has: all of them, or those that a stage ``prune`` has left. The fact ``layers_removed`` says it,
    and is handed on.

    Attributes:
        distillation: learning from the teacher at every token.
    """

    VERSION: ClassVar[int] = 3
    TAKES: ClassVar[Mapping[str, Takes]] = {
        "model": Takes(Kind.MODEL),
        "train": Takes(Kind.MANIFEST),
        "dev": Takes(Kind.MANIFEST, optional=True),
        "teacher": Takes(Kind.MODEL, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.MODEL

    distillation: TokenDistillation | None = None

    def unfit(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.distillation is None and "teacher" in given:
            yield "teacher", "without distillation it teaches nothing: give its settings, or leave the teacher out"
        if self.distillation is not None and "teacher" not in given:
            yield "teacher", "distillation needs a model to learn from"

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
        train = self._full if self.method == "full" else self._qlora
        translator, outcome, trainable = train(inputs, ctx)
        save(translator, out_dir)

        added = trainable if self.method == "qlora" else 0
        facts: dict[str, Any] = {
            "trainable_parameters": trainable,
            "trainable_share": trainable / (count_parameters(folder).parameters + added),
            "steps": outcome.steps,
            "train_loss": outcome.loss,
        }
        if "layers_removed" in inputs["model"].facts:
            facts["layers_removed"] = inputs["model"].facts["layers_removed"]
        if dev := inputs.get("dev"):
            facts["dev_loss"] = held_out_loss(translator, Manifest.load(dev.path), ctx)
        return facts

    def _full(self, inputs: Inputs, ctx: Context) -> tuple[Translator, Outcome, int]:
        from stc.models.checkpoint import load
        from stc.training.translation import select

        weights = "bfloat16" if self.precision == "bfloat16" else "float32"
        translator = load(inputs["model"].path, device=ctx.device, dtype=weights)
        parameters = select(translator, self.parts)
        outcome = self._fit(translator, parameters, inputs, ctx)
        return translator, outcome, sum(parameter.numel() for parameter in parameters)

    def _qlora(self, inputs: Inputs, ctx: Context) -> tuple[Translator, Outcome, int]:
        from stc.models.checkpoint import load
        from stc.quantization.nf4 import NF4
        from stc.training.adapters import adapter_parameters, adapter_state, add_adapters, merge_adapters

        folder = inputs["model"].path
        compute = "float32" if self.precision == "float32" else "bfloat16"
        base = load(folder, device=ctx.device, dtype=compute, quantize=NF4(double_quant=True))
        wrapped = add_adapters(base, self)
        parameters = adapter_parameters(wrapped)
        outcome = self._fit(base, parameters, inputs, ctx)
        trainable = sum(parameter.numel() for parameter in parameters)
        state = adapter_state(wrapped)
        del base, wrapped, parameters  # two bases of 7B side by side need not fit

        merged = load(folder, device=ctx.device, dtype="bfloat16")
        merge_adapters(merged, self, state)
        return merged, outcome, trainable

    def _fit(self, student: Translator, parameters: Sequence[nn.Parameter], inputs: Inputs, ctx: Context) -> Outcome:
        from stc.models.checkpoint import load
        from stc.training.distillation import Teacher
        from stc.training.translation import fit, select

        manifest = Manifest.load(inputs["train"].path)
        if self.distillation is None:
            return fit(student, parameters, manifest, self, ctx)
        precision = "float32" if self.precision == "float32" else "bfloat16"
        teacher = load(inputs["teacher"].path, device=ctx.device, dtype=precision)
        select(teacher, [])
        kept = self._kept(inputs, student, teacher) if self.distillation.hidden else []
        return fit(student, parameters, manifest, self, ctx, Teacher(teacher, student, kept, self.distillation))

    @staticmethod
    def _kept(inputs: Inputs, student: Translator, teacher: Translator) -> list[int]:
        """The number in the teacher of each of the student's decoder layers."""
        count, of = (len(one.architecture.decoder(one.model).layers) for one in (student, teacher))
        removed = inputs["model"].facts.get("layers_removed", [])
        kept = [layer for layer in range(of) if layer not in removed]
        if len(kept) != count:
            raise InputError(
                f"distillation.hidden: {inputs['model'].path} has {count} decoder layers and is not known to be "
                f"{inputs['teacher'].path}, which has {of}, without some of them; hidden: 0 compares none"
            )
        return kept

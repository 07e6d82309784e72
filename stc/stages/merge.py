"""merge: add adapters to the weights of the model they were trained for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.models import describe_depth
from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.training.fine_tuning import inherited_facts, refuse_quantized


class Merge(Stage):
    """Gives a plain bfloat16 folder. ``model`` is the one the adapters were trained for, before it was quantized."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "adapter": StageInput(Kind.ADAPTER)}
    GIVES: ClassVar[Kind] = Kind.MODEL

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        return inputs["model"] and inputs["model"].in_bfloat16()

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        return "Adapters that were trained for it were added to its weights."

    def activity(self, inputs: Inputs) -> str:
        return f"adding the adapters to the weights of the {describe_depth(inputs['model'].path)}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models.adapters import merge_into

        refuse_quantized(inputs["model"])
        merge_into(inputs["model"].path, inputs["adapter"].path, out_dir, ctx.device)
        return inherited_facts(inputs["model"])

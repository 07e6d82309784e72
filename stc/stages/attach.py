"""attach: put adapters beside the quantized model they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import place_file
from stc.errors import ModelError
from stc.models import describe_depth
from stc.models.compute_options import Compute
from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import RECORD_FILE, Kind
from stc.training.fine_tuning import inherited_facts


class Attach(Compute, Stage):
    """Gives the model's folder with the adapters in its folder ``adapter``.

    Merging and quantizing the sum would round twice; this rounds nothing, but the adapters cost bytes and time. Without
    stc the folder is loaded by ``from_pretrained(FOLDER)`` and ``load_adapter(FOLDER/adapter)``, or by peft's
    ``PeftModel.from_pretrained(model, FOLDER, subfolder="adapter")``.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "adapter": StageInput(Kind.ADAPTER)}
    GIVES: ClassVar[Kind] = Kind.MODEL

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        model, adapters = inputs["model"], inputs["adapter"]
        return model.with_adapters(adapters) if model and adapters else None

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        return "Adapters that were trained for it are kept beside it, in the folder `adapter`."

    def activity(self, inputs: Inputs) -> str:
        return f"putting the adapters beside the {describe_depth(inputs['model'].path)}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models.weights import attached_adapter

        model, adapter = inputs["model"].path, inputs["adapter"].path
        if attached_adapter(model):
            raise ModelError(f"{model} has an adapter already")
        for folder, target in ((model, out_dir), (adapter, out_dir / "adapter")):
            for file in sorted(path for path in folder.iterdir() if path.is_file() and path.name != RECORD_FILE):
                place_file(file, target / file.name)
        self.load_model(out_dir, ctx.device)
        return inherited_facts(inputs["model"])

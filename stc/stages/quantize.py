"""quantize: store a model in fewer bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.models import describe_depth
from stc.models.compute_options import Compute
from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.quantization import PACKABLE, Quant
from stc.store.artifact import Kind


class Quantize(Compute, Stage):
    """Quantizes a model by the method ``quant``, for instance ``{method: nf4, double_quant: true}``.

    ``dtype`` is the type that the saved model computes in by default.
    """

    VERSION = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}
    GIVES = Kind.MODEL

    quant: Quant

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {"quantizer_version": self.quant.VERSION}

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        return inputs["model"] and inputs["model"].packed(self.quant)

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        quant = config["quant"]
        parts = [part for part in PACKABLE if quant.get("parts", {}).get(part) == quant["method"]]
        settings = [f"{key} {value}" for key, value in quant.items() if key not in ("method", "parts")]
        where = f" of {', '.join(parts)}" if parts else ""
        how = f" ({', '.join(settings)})" if settings else ""
        return f"Quantized: the linear layers{where} by {quant['method']}{how}; the rest is bfloat16."

    def activity(self, inputs: Inputs) -> str:
        return f"quantizing the {describe_depth(inputs['model'].path)} by {self.quant.method}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.metrics.size import size_of
        from stc.models.layer_removal import check_reload
        from stc.models.load_and_save import save

        translator = self.load_model(inputs["model"].path, ctx.device, quantize=self.quant)
        save(translator, out_dir)
        check_reload(translator, out_dir)
        size = size_of(out_dir)
        return {
            "decoder_layers": size.decoder_layers,
            "parameters": size.parameters,
            "packed_elements": size.packed_elements,
            "weight_bytes": size.bytes_on_disk,
        }

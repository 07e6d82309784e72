"""Take the decoder layers of a ranking out of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.models.options import Compute
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Prune(Compute, Stage):
    """``ranking`` says which layers: the ``layers_removed`` of its facts. The rest of the model stays as it is.

    The precision and attention are those of the checks; the weights pass through unchanged.
    """

    VERSION = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {
        "model": Takes(Kind.MODEL),
        "ranking": Takes(Kind.RANKING, by="layers_removed"),
    }
    GIVES = Kind.MODEL

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models import read_config
        from stc.models.checkpoint import load, save
        from stc.models.counting import count_parameters
        from stc.models.surgery import check_cache, check_reload, drop_decoder_layers

        removed = sorted(inputs["ranking"].facts["layers_removed"])
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.dtype, attention=self.attention)
        drop_decoder_layers(translator, removed)
        check_cache(translator)
        save(translator, out_dir)
        check_reload(translator, out_dir)
        return {
            "decoder_layers": translator.architecture.decoder_layers(read_config(out_dir)),
            "layers_removed": removed,
            "parameters": count_parameters(out_dir).parameters,
        }

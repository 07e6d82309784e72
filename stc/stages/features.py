"""features: the output of a model's encoder for a manifest's recordings, computed once for all stages that use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest, describe_amount
from stc.models.compute_options import Compute
from stc.models.layout import FeatureSize
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind


class Features(Compute, Stage):
    """Gives the encoder's states of every distinct recording, before the projector and without padding.

    They are identified by the model that computed them. A reader with another model compares the weights of the two
    encoders, so models with the same encoder can share features.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "data": StageInput(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.FEATURES

    def forecast(self, inputs: Mapping[str, Any]) -> FeatureSize | None:
        model, speech = inputs["model"], inputs["data"]
        return model and speech and model.features(speech.seconds, self.dtype)

    def activity(self, inputs: Inputs) -> str:
        return f"encoding the audio of {describe_amount(inputs['data'])}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.decoding.features import write_features
        from stc.decoding.greedy import DECODE_BATCH
        from stc.system.memory import BatchSize

        manifest = Manifest.load(inputs["data"].path)
        translator = self.load_model(inputs["model"].path, ctx.device)
        with ctx.progress("encoding audio", total=len({row.sha256 for row in manifest.rows}), unit="recording") as bar:
            facts = write_features(
                translator,
                manifest,
                out_dir,
                batch_size=BatchSize(ctx.decode_batch, DECODE_BATCH),
                workers=ctx.workers,
                progress=bar,
            )
        return {**facts, "model": inputs["model"].identity, "dtype": self.dtype, "attention": self.attention}

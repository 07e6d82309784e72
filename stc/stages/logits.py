"""logits: the predictions of a model at every target token of a manifest, computed once for all trainings on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest
from stc.models.options import Compute
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind


class Logits(Compute, Stage):
    """Gives the most probable tokens at each target position, after the true tokens before it.

    A training whose ``train`` is the same manifest can learn from them without the model in memory. ``features`` are
    the encoder's output for the recordings of ``data``, if it is known.

    Attributes:
        top_k: the number of tokens; the rest of the vocabulary is kept as one probability.
        temperature: the logits are divided by it.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "data": StageInput(Kind.MANIFEST),
        "features": StageInput(Kind.FEATURES, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.LOGITS

    top_k: int = Field(ge=1, le=1_000_000)
    temperature: float = Field(gt=0, le=100)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        import torch

        from stc.data.collate import IGNORED
        from stc.decoding.features import features_of
        from stc.decoding.predictions import predict
        from stc.distillation.cached_logits import TopK, write
        from stc.models.checkpoint import load
        from stc.system.memory import BatchSize
        from stc.training.examples import Examples
        from stc.training.loop import MICRO_BATCH
        from stc.training.translator import select_trainable

        manifest = Manifest.load(inputs["data"].path)
        translator = load(inputs["model"].path, device=ctx.device, dtype=self.dtype, attention=self.attention)
        select_trainable(translator, [])
        features = features_of(inputs.get("features"), inputs["model"], translator, self)
        examples = Examples(translator, manifest, ctx, features=features)
        found: list[TopK] = []
        with torch.inference_mode(), ctx.progress("logits", total=len(manifest), unit="utterance") as bar:

            def compute(indices: Sequence[int]) -> None:
                batch = examples.batch(indices)
                counts = (batch.labels != IGNORED).sum(dim=1).tolist()
                top = TopK.of(predict(translator, batch).logits, self.top_k, self.temperature).to("cpu")
                found.extend(top.split(counts))
                bar.update(len(indices))

            BatchSize(ctx.train_micro_batch, MICRO_BATCH).over(range(len(manifest)), compute)
        write(out_dir, found)
        return {
            "data": inputs["data"].identity,
            "temperature": self.temperature,
            "positions": sum(len(one.rest) for one in found),
            "mean_rest": float(torch.cat([one.rest for one in found]).exp().mean()),
        }

"""logits: the predictions of a model at every target token of a manifest, computed once for all trainings on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, describe_amount
from stc.models import describe_depth
from stc.models.compute_options import Compute
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

    def activity(self, inputs: Inputs) -> str:
        model, amount = describe_depth(inputs["model"].path), describe_amount(inputs["data"])
        return f"keeping what the {model} predicts for {amount}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        import torch

        from stc.data.collate import IGNORED, Batch
        from stc.decoding.features import features_of
        from stc.decoding.token_loss import predict
        from stc.distillation.cached_logits import TopK, write
        from stc.training.teacher_forcing import TeacherForcing

        manifest = Manifest.load(inputs["data"].path)
        translator = self.load_model(inputs["model"].path, ctx.device)
        translator.model.requires_grad_(False)
        features = features_of(inputs.get("features"), inputs["model"], translator, self)
        found: list[TopK] = []

        def add(batch: Batch) -> None:
            counts = (batch.labels != IGNORED).sum(dim=1).tolist()
            top = TopK.of(predict(translator, batch).logits, self.top_k, self.temperature).to("cpu")
            found.extend(top.split(counts))

        with torch.inference_mode():
            TeacherForcing(translator, manifest, ctx, features=features).run("logits", add)
        write(out_dir, found)
        return {
            "data": inputs["data"].identity,
            "temperature": self.temperature,
            "positions": sum(len(one.rest) for one in found),
            "mean_rest": float(torch.cat([one.rest for one in found]).exp().mean()),
        }

"""translate: translate a data set, as a teacher does for distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest, describe_amount
from stc.decoding.hypotheses import TranslationSettings, write_texts
from stc.decoding.options import GREEDY, Decoding
from stc.metrics.score_files import HYPOTHESES_FILE
from stc.models import describe_depth
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind


class Translate(TranslationSettings, Stage):
    """Writes hypotheses.txt: one translation per line, in the manifest's order. Several translations of one utterance
    follow each other.

    ``features`` are the encoder's output for the recordings of ``data``, if it is known.

    Facts: ``utterances``, ``translations``, and how many of these are ``empty``; ``output_rules`` if something is
    removed from texts.

    Attributes:
        decoding: greedy, beam search or sampling, and what is removed from the texts.
    """

    VERSION: ClassVar[int] = 3
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "data": StageInput(Kind.MANIFEST),
        "features": StageInput(Kind.FEATURES, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.HYPOTHESES

    decoding: Decoding = GREEDY

    def activity(self, inputs: Inputs) -> str:
        model, amount = describe_depth(inputs["model"].path), describe_amount(inputs["data"])
        return f"translating {amount} with the {model}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.decoding.features import features_of

        manifest = Manifest.load(inputs["data"].path)
        translator = self.load_model(inputs["model"].path, ctx.device)
        features = features_of(inputs.get("features"), inputs["model"], translator, self)
        said = self.translate(translator, manifest, ctx, self.decoding, features)
        texts = [self.decoding.apply(text) for text in said]
        write_texts(out_dir / HYPOTHESES_FILE, texts)
        facts = {"utterances": len(manifest), "translations": len(texts), "empty": texts.count("")}
        return facts | self.decoding.told(said, texts)

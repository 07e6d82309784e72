"""evaluate: translate a data set with a saved model, and score the translations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stc.data.manifest import Manifest, describe_amount
from stc.decoding.hypotheses import TranslationSettings, join_parts, lines_with, write_texts
from stc.decoding.options import OutputRules
from stc.metrics.metric import MetricName, metric_identities, metric_with
from stc.metrics.output_faults import output_faults
from stc.metrics.score_files import HYPOTHESES_FILE, REFERENCES_FILE, UNEDITED_FILE, Scores
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.system.field_types import EachOnce
from stc.system.hub_files import HubFiles


class Evaluate(TranslationSettings, Stage):
    """Measures the quality of one system.

    Writes hypotheses.txt and references.txt (one sentence per line, in the manifest's order) and scores.json (corpus
    scores, their signatures, and the sentence statistics needed to resample them).

    As an independent check, a new process that imports transformers and not stc translates the first utterances too
    (:mod:`stc.verification.independent`). In float32 and with plain weights, a different text is an error.

    Facts: every metric's score, ``sentences``, and ``witness_agreement``: the share of equal texts, in [0, 1].
    ``output_faults``: how many translations are something else than a translation, or not all of one
    (:mod:`stc.metrics.output_faults`). With rules in ``decoding``, faults are counted and texts are checked before they
    are applied, unedited.txt has those texts, and ``output_rules`` are the rules and how many texts they ``changed``.
    ``cut_lines``: how many utterances were translated in parts, if any were.

    Attributes:
        decoding: what is removed from translations before they are scored.
        witnessed: the number of utterances in the independent check; 0 for no check.
    """

    VERSION: ClassVar[int] = 3
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "data": StageInput(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.SCORES

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"metric_settings"})  # the environment has what decides scores
    NEWER_FIELDS: ClassVar[frozenset[str]] = frozenset({"decoding"})
    KEEPS_STATES: ClassVar[bool] = True

    metrics: Annotated[list[MetricName], Field(min_length=1), EachOnce]
    metric_settings: Mapping[str, Mapping[str, Any]] = {}
    witnessed: int = Field(ge=0, le=10_000)
    decoding: OutputRules = OutputRules()

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return metric_identities(self.metrics, self.metric_settings)

    def downloads(self) -> Iterator[HubFiles]:
        for name in self.metrics:
            yield from metric_with(name, self.metric_settings).downloads()

    def activity(self, inputs: Inputs) -> str:
        titles = ", ".join(metric_with(name, self.metric_settings).title for name in self.metrics)
        return f"translating {describe_amount(inputs['data'])}, scored by {titles}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        manifest = Manifest.load(inputs["data"].path)
        for name in self.metrics:  # before hours of translating
            metric_with(name, self.metric_settings).check_ready(manifest.task.target_lang)
        cut_off: set[int] = set()
        said = self._translations(inputs["model"].path, manifest, ctx, cut_off)
        agreed = self._check_independently(inputs["model"].path, manifest, said, ctx) if self.witnessed else {}
        hypotheses = join_parts(manifest, [self.decoding.apply(text) for text in said])
        said = join_parts(manifest, said)
        references, sources = [row.target for row in manifest.lines], [row.source for row in manifest.lines]
        faults = output_faults(said, references, sources, manifest.task, lines_with(manifest, cut_off))
        ctx.log({name: count for name, count in faults.items() if count})
        lang = manifest.task.target_lang
        scores = Scores.of(self.metrics, hypotheses, references, lang, sources, self.metric_settings)
        write_texts(out_dir / HYPOTHESES_FILE, hypotheses)
        write_texts(out_dir / REFERENCES_FILE, references)
        if self.decoding.removes_something:
            write_texts(out_dir / UNEDITED_FILE, said)
        scores.save(out_dir)
        scored = {name: metric.score for name, metric in scores.metrics.items()}
        facts = {**scored, "sentences": scores.sentences, **agreed, "output_faults": faults}
        facts |= {"cut_lines": manifest.cut_lines} if manifest.cut_lines else {}
        return facts | self.decoding.told(said, hypotheses)

    def _translations(self, model: Path, manifest: Manifest, ctx: Context, cut_off: set[int]) -> list[str]:
        from stc.decoding.features import remembered_states

        translator = self.load_model(model, ctx.device)
        known = remembered_states(translator, self)
        return self.translate(translator, manifest, ctx, features=known, cut_off=cut_off)

    def _check_independently(
        self, model: Path, manifest: Manifest, hypotheses: list[str], ctx: Context
    ) -> dict[str, float]:
        from stc.verification.independent import agreement, independent_translations

        first = Manifest(manifest.folder, manifest.task, manifest.rows[: self.witnessed])
        (texts,) = independent_translations([(model, None)], first, self, ctx.device)
        agreed = {"witness_agreement": agreement(model, first, hypotheses[: len(first)], texts, self.dtype)}
        ctx.log(agreed)
        return agreed

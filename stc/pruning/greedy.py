"""Greedy layer selection (Moslem 2025, arXiv 2505.20237, section 3): its settings, and the stage for one round."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from stc.data.manifest import Manifest, describe_amount
from stc.decoding.hypotheses import join_parts
from stc.errors import Fault, InputError, field_error
from stc.metrics.metric import metric_identities, metric_names, metric_with, score
from stc.metrics.selection_metric import LOSS, SelectionMetric, goodness, signature_of
from stc.models.architecture import Stack
from stc.models.compute_options import Compute
from stc.models.layer_ranking import Layer, Removal, Scope, by_stack, in_scope
from stc.models.layout import RemovalCounts
from stc.pipeline.stage import Context, Inputs, StageInput
from stc.pruning import ByRatio, FilledSettings
from stc.store.artifact import Kind
from stc.system.hub_files import HubFiles
from stc.system.read_files import parse_json
from stc.workers.stage import ParallelStage

SCREEN = 5  # the reason for this number: docs/results/screened.md


class Greedy(ByRatio):
    """Remove layers in rounds. A round leaves out each remaining layer in turn and removes the one that costs least.

    Attributes:
        metric: how the model without a layer is scored.
        search: ``exact`` scores every candidate; ``screened`` scores only those with the lowest loss.
        screen: how many candidates a screened search scores; filled in if it is not given.
        features: filled in: the stage that encodes the audio for all rounds, if all have the same encoder.
    """

    metric: SelectionMetric
    search: Literal["exact", "screened"]
    screen: int | None = Field(default=None, ge=2)
    features: None = None

    @model_validator(mode="after")
    def _screens(self) -> Self:
        if self.search == "screened" and self.metric == LOSS:
            allowed = f"the loss is used by the screen: prune.search=exact, or one of {', '.join(metric_names())}"
            raise field_error(Fault("metric", self.metric, allowed, others=(("search", self.search),)))
        if self.search == "exact" and self.screen is not None:
            allowed = "prune.search=exact has no screen; prune.search=screened has"
            raise field_error(Fault("screen", self.screen, allowed, others=(("search", self.search),)))
        return self

    def fill_in(self, counts: Mapping[Stack, int]) -> FilledSettings:
        filled, faults = super().fill_in(counts)
        filled["features"] = "features" if self.scope == "decoder" else None
        if self.search == "screened":
            filled["screen"] = self.screen or SCREEN
        return filled, faults


class Importance(Compute, ParallelStage):
    """Leaves out each remaining layer in turn, and removes the one without which the model scores best.

    ``previous`` is the round before. Layers are numbered as in the model of the first round. The model of this round is
    the same, or one that has already lost the first of the removed layers and was trained since. Of equal scores the
    lowest layer is removed, and a layer of the decoder before one of the encoder.

    ``features`` are the encoder's output for ``data``. With them the audio need not be encoded, as long as no layer of
    the encoder is removed.

    With ``screen``, only this many candidates are scored: those without which the teacher-forced loss is lowest; of two
    equal losses, the lower layer. A round with no more candidates is not screened.

    Every score and every loss of the screen is written to scratch at once, so that an interrupted round repeats at most
    one candidate per process.
    """

    NAME: ClassVar[str] = "importance"
    VERSION: ClassVar[int] = 3
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "data": StageInput(Kind.MANIFEST),
        "previous": StageInput(Kind.RANKING, optional=True),
        "features": StageInput(Kind.FEATURES, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.RANKING
    KEEPS_MODEL: ClassVar[bool] = True
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"metric_settings"})  # the environment has what decides scores

    scope: Scope = "decoder"
    metric: SelectionMetric
    metric_settings: Mapping[str, Mapping[str, Any]] = {}
    max_new_tokens: int = Field(ge=1, le=1024)
    # Not in the identity of a round without a screen, so that older results stay valid.
    screen: int | None = Field(default=None, ge=2, exclude_if=lambda screen: screen is None)

    @model_validator(mode="after")
    def _screens_by_something_else(self) -> Self:
        if self.screen is not None and self.metric == LOSS:
            allowed = "a screen uses the loss, so there is none with metric loss"
            raise field_error(Fault("screen", self.screen, allowed, others=(("metric", self.metric),)))
        return self

    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        if "features" in given and self.scope == "encoder":
            yield "features", "scope=encoder: an encoder without a layer has to encode the audio again; leave it out"

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {} if self.metric == LOSS else metric_identities([self.metric], self.metric_settings)

    def downloads(self) -> Iterator[HubFiles]:
        if self.metric != LOSS:
            yield from metric_with(self.metric, self.metric_settings).downloads()

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts | None:
        if "previous" in inputs:
            return inputs["previous"] and inputs["previous"].with_one_more()
        model = inputs["model"]
        return model and RemovalCounts(in_scope(model.layers, self.scope, "the model"), {}).with_one_more()

    def activity(self, inputs: Inputs) -> str:
        by = LOSS if self.metric == LOSS else metric_with(self.metric, self.metric_settings).title
        return f"leaving out each layer in turn, scored by {by} on {describe_amount(inputs['data'])}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models import architecture, read_config

        folder = inputs["model"].path
        config = read_config(folder)
        counts = architecture(config["model_type"]).layers(config)
        previous = inputs.get("previous")
        before = Removal.from_facts(previous.facts) if previous else Removal(in_scope(counts, self.scope, folder))
        candidates = before.candidates()
        if not candidates:
            raise InputError(
                f"no layer of {folder} is left to remove: of {dict(before.of)}, {len(before.order)} are removed and "
                "the first and the last of each stack protected"
            )
        manifest = Manifest.load(inputs["data"].path)
        places = before.places(counts, folder)
        screened = self.screen is not None and self.screen < len(candidates)
        losses = self._scores(LOSS, inputs, before, candidates, places, ctx) if screened else {}
        finalists = sorted(sorted(candidates, key=losses.__getitem__)[: self.screen]) if screened else candidates
        scores = self._scores(self.metric, inputs, before, finalists, places, ctx)
        best = max(finalists, key=lambda layer: goodness(self.metric, scores[layer]))
        details: dict[str, Any] = {
            "metric": self.metric,
            "signature": signature_of(self.metric, manifest.task.target_lang, self.metric_settings),
            "candidates": [
                {"stack": one[0], "layer": one[1], "score": scores.get(one)}
                | ({"loss": losses[one]} if screened else {})
                for one in candidates
            ],
        }
        if screened:
            details["screen"] = {"kept": self.screen, "signature": signature_of(LOSS, manifest.task.target_lang, {})}
        facts = Removal(before.of, (*before.order, best)).save(out_dir, details)
        return {**facts, "stack": best[0], "layer": best[1], "score": scores[best]}

    def _scores(
        self,
        metric: str,
        inputs: Inputs,
        before: Removal,
        candidates: list[Layer],
        places: Mapping[Layer, int],
        ctx: Context,
    ) -> dict[Layer, float]:
        """Return the score without each candidate. Those that an interrupted run has written to scratch are read."""
        screen = metric != self.metric
        title = f"layer {len(before.order) + 1}{', screen' * screen}"
        journal = ctx.scratch / ("screen.jsonl" if screen else "candidates.jsonl")
        scores = recover_scores(journal)
        missing = {(layer[0], places[layer]): layer for layer in candidates if layer not in scores}
        if not missing:
            return scores
        removed = by_stack((layer[0], places[layer]) for layer in before.order if layer in places)
        work = {"metric": metric, "removed": removed, "candidates": sorted(missing)}
        manifest = Manifest.load(inputs["data"].path)
        with ctx.progress(title, total=len(missing), unit="candidate") as bar:
            for in_stack, place, found in self.run_shares(inputs, work, ctx):
                stack, layer = missing[in_stack, place]
                # This process scores for all, since a metric may load a model, and keeps it from round to round.
                value = found if metric == LOSS else self._score(manifest, found)
                scores[stack, layer] = value
                # Logged before the score is written: a continued round does not score this candidate again.
                ctx.log({f"{'loss' if screen else 'score'}_without_{stack}_layer": value}, step=layer)
                with journal.open("a", encoding="utf-8") as file:
                    # The newline comes first: the next line must not continue one that a crash has cut short.
                    file.write("\n" + json.dumps({"stack": stack, "layer": layer, "score": value}))
                    file.flush()
                    os.fsync(file.fileno())
                bar.update(1)
        return scores

    def _score(self, manifest: Manifest, texts: list[str]) -> float:
        metric, lang = metric_with(self.metric, self.metric_settings), manifest.task.target_lang
        references, sources = [row.target for row in manifest.lines], [row.source for row in manifest.lines]
        return score(self.metric, join_parts(manifest, texts), references, lang, sources, metric)

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[tuple[Stack, int, Any]]:
        """Yield (stack, candidate, loss or translations) for this process's candidates, with layers numbered as in the
        model."""
        from stc.decoding.features import features_of
        from stc.pipeline.model_cache import cached_model
        from stc.pruning.search.losses import losses_without_each
        from stc.pruning.search.translations import translations_without_each
        from stc.workers.worker import current_group

        own = current_group().share_of(work["candidates"])
        if not own:
            return
        candidates = by_stack((stack, place) for stack, place in own)
        manifest = Manifest.load(inputs["data"].path)
        translator = cached_model(inputs["model"], self, ctx.device)
        features = features_of(inputs.get("features"), inputs["model"], translator, self)
        if work["metric"] == LOSS:
            yield from losses_without_each(
                translator,
                manifest.with_own_text(),
                work["removed"],
                candidates,
                batch_size=ctx.decode_batch,
                features=features,
            )
            return
        yield from translations_without_each(
            translator,
            manifest,
            work["removed"],
            candidates,
            batch_size=ctx.decode_batch,
            max_new_tokens=self.max_new_tokens,
            features=features,
        )


class _JournalEntry(TypedDict):
    """The score of a candidate: a line of a round's journal."""

    stack: Stack
    layer: int
    score: float


def recover_scores(journal: Path) -> dict[Layer, float]:
    """Return the scores of an interrupted round. Lines that are incomplete or malformed are ignored."""
    scores: dict[Layer, float] = {}
    for line in journal.read_bytes().splitlines() if journal.exists() else []:
        with suppress(InputError):
            entry = parse_json(line, str(journal), _JournalEntry)
            scores[entry["stack"], entry["layer"]] = entry["score"]
    return scores

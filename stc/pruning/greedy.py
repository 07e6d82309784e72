"""Greedy layer selection (Moslem 2025, arXiv 2505.20237, section 3): its settings, and the stage of one round."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from stc.data.manifest import Manifest
from stc.errors import Fault, InputError, field_error
from stc.metrics.metric import metric_names, raised_versions
from stc.metrics.selection import LOSS, SelectionMetric, goodness, signature_of
from stc.models.architecture import Stack
from stc.models.layout import RemovalCounts
from stc.models.options import Compute
from stc.models.removal import Layer, Removal, Scope, by_stack, in_scope
from stc.pipeline.stage import Context, Inputs, StageInput
from stc.pruning import ByRatio, FilledSettings
from stc.store.artifact import Kind
from stc.system.read_files import parse_json
from stc.workers.stage import ParallelStage

SCREEN = 5  # what it is worth, and why this many: docs/results/screened.md


class Greedy(ByRatio):
    """Search by rounds: each leaves out every remaining layer in turn and removes the one whose absence scores best.

    Attributes:
        metric: what the rounds go by.
        search: whether they take it of every candidate, or of those that a screen by the loss has left.
        screen: how many that leaves; filled in for a screened search that does not say.
        features: filled in: the stage that encodes the audio for all rounds, where all have the same encoder.
    """

    metric: SelectionMetric
    search: Literal["exact", "screened"]
    screen: int | None = Field(default=None, ge=2)
    features: None = None

    @model_validator(mode="after")
    def _screens(self) -> Self:
        if self.search == "screened" and self.metric == LOSS:
            allowed = f"the loss is what a screen goes by: prune.search=exact, or one of {', '.join(metric_names())}"
            raise field_error(Fault("metric", self.metric, allowed, others=(("search", self.search),)))
        if self.search == "exact" and self.screen is not None:
            allowed = "prune.search=exact has no screen; prune.search=screened has"
            raise field_error(Fault("screen", self.screen, allowed, others=(("search", self.search),)))
        return self

    def fill_in(self, of: Mapping[Stack, int]) -> FilledSettings:
        filled, faults = super().fill_in(of)
        filled["features"] = "features" if self.scope == "decoder" else None
        if self.search == "screened":
            filled["screen"] = self.screen or SCREEN
        return filled, faults


class Importance(Compute, ParallelStage):
    """Leaves out each remaining layer in turn and removes the one whose absence scores best.

    ``previous`` is the round before. Layers are numbered as in the model of the first round, whichever model this
    one takes: the same, or one that has lost the first of the removed layers already and was trained since. Of
    equal scores the lowest layer is removed, and one of the decoder before one of the encoder.

    ``features`` are what the encoder makes of ``data``, and spare the candidates of the decoder the hearing as long as
    no layer of the encoder is removed.

    With ``screen``, only so many candidates are scored: those without which the teacher-forced loss is lowest, the
    lower layer of two with equal losses. A round that has no more than that is not screened.

    A score is written to scratch as soon as it is known, and so is a loss of the screen, so that a round which was
    interrupted repeats at most one candidate. Several processes share the candidates, and each repeats at most one.
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

    scope: Scope = "decoder"
    metric: SelectionMetric
    max_new_tokens: int = Field(ge=1, le=1024)
    # A round that is not screened is the same as ever, and so is its identity: the field is not in it.
    screen: int | None = Field(default=None, ge=2, exclude_if=lambda screen: screen is None)

    @model_validator(mode="after")
    def _screens_by_something_else(self) -> Self:
        if self.screen is not None and self.metric == LOSS:
            allowed = "a screen goes by the loss, so that of metric loss there is none"
            raise field_error(Fault("screen", self.screen, allowed, others=(("metric", self.metric),)))
        return self

    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        if "features" in given and self.scope == "encoder":
            yield "features", "scope=encoder: an encoder without a layer hears the audio anew; leave it out"

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {} if self.metric == LOSS else raised_versions([self.metric])

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts | None:
        if "previous" in inputs:
            return inputs["previous"] and inputs["previous"].with_one_more()
        model = inputs["model"]
        return model and RemovalCounts(in_scope(model.layers, self.scope, "the model"), {}).with_one_more()

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
        losses = self._scores(LOSS, inputs, before, candidates, places, ctx, screen=True) if screened else {}
        finalists = sorted(sorted(candidates, key=losses.__getitem__)[: self.screen]) if screened else candidates
        scores = self._scores(self.metric, inputs, before, finalists, places, ctx)
        best = max(finalists, key=lambda layer: goodness(self.metric, scores[layer]))
        how: dict[str, Any] = {
            "metric": self.metric,
            "signature": signature_of(self.metric, manifest.task.target_lang),
            "candidates": [{"stack": one[0], "layer": one[1], "score": scores.get(one)} for one in candidates],
        }
        if screened:
            how["screen"] = {"kept": self.screen, "signature": signature_of(LOSS, manifest.task.target_lang)}
            how["candidates"] = [{**one, "loss": losses[one["stack"], one["layer"]]} for one in how["candidates"]]
        facts = Removal(before.of, (*before.order, best)).save(out_dir, how)
        return {**facts, "stack": best[0], "layer": best[1], "score": scores[best]}

    def _scores(
        self,
        metric: str,
        inputs: Inputs,
        before: Removal,
        candidates: list[Layer],
        places: Mapping[Layer, int],
        ctx: Context,
        *,
        screen: bool = False,
    ) -> dict[Layer, float]:
        """The score without each candidate: from scratch where a run before this one got that far."""
        title = f"layer {len(before.order) + 1}{', screen' * screen}"
        journal = ctx.scratch / ("screen.jsonl" if screen else "candidates.jsonl")
        scores = _recover(journal)
        missing = {(layer[0], places[layer]): layer for layer in candidates if layer not in scores}
        if not missing:
            return scores
        removed = by_stack((layer[0], places[layer]) for layer in before.order if layer in places)
        work = {"metric": metric, "removed": removed, "candidates": sorted(missing)}
        with ctx.progress(title, total=len(missing), unit="candidate") as bar:
            for of, place, score in self.run_shares(inputs, work, ctx):
                stack, layer = missing[of, place]
                scores[stack, layer] = score
                # Before the score is kept: a round that goes on does not come by here again for this candidate.
                ctx.log({f"{'loss' if screen else 'score'}_without_{stack}_layer": score}, step=layer)
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"stack": stack, "layer": layer, "score": score}) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                bar.update(1)
        return scores

    def run_share(self, inputs: Inputs, work: Mapping[str, Any], ctx: Context) -> Iterator[tuple[Stack, int, float]]:
        """(stack, candidate, score) with layers numbered as in the model."""
        from stc.decoding.features import features_of
        from stc.metrics.metric import score
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
                translator, manifest, work["removed"], candidates, batch_size=ctx.decode_batch, features=features
            )
            return
        for stack, place, texts in translations_without_each(
            translator,
            manifest,
            work["removed"],
            candidates,
            batch_size=ctx.decode_batch,
            max_new_tokens=self.max_new_tokens,
            features=features,
        ):
            lang = manifest.task.target_lang
            yield stack, place, score(work["metric"], texts, manifest.targets, lang, manifest.sources)


class _Scored(TypedDict):
    """A line of the journal of a round: what a candidate scored."""

    stack: Stack
    layer: int
    score: float


def _recover(journal: Path) -> dict[Layer, float]:
    """Scores of an interrupted round. Its last line may be torn; it is cut off, so that appending is safe."""
    if not journal.exists():
        return {}
    whole = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    os.truncate(journal, sum(map(len, whole)))  # not written anew: a crash in between would lose them all
    scores: dict[Layer, float] = {}
    for line in whole:
        with suppress(InputError):  # what is no score is found out once more
            entry = parse_json(line, str(journal), _Scored)
            scores[entry["stack"], entry["layer"]] = entry["score"]
    return scores

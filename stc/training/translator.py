"""Training a translator on a manifest: audio and text into the loop, and the loss on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from stc.data.collate import Batch
from stc.data.manifest import Manifest
from stc.decoding.predictions import predict, translation_loss
from stc.distillation.token_level import Teacher
from stc.errors import InputError
from stc.models.architecture import Part
from stc.models.parts import part_parameters
from stc.pipeline.stage import Context
from stc.training.acceleration.compile import compiled_layers
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.checkpoint_state import PerProcessState, Stateful
from stc.training.corpus import Corpus
from stc.training.examples import Examples
from stc.training.loop import TrainingResult, train
from stc.training.order import batches, batches_per_epoch
from stc.training.recipe import Recipe
from stc.training.stopping import EarlyStopping
from stc.training.teacher_forcing import TeacherForcing
from stc.workers.worker import current_group

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator


@dataclass(frozen=True)
class FitResult:
    """What became of a training. ``dev_losses`` are those after each epoch, if they were looked at."""

    outcome: TrainingResult
    dev_losses: list[float] = field(default_factory=list)
    best_epoch: int | None = None


@dataclass(frozen=True)
class IndexedBatch:
    """A micro-batch, and the numbers of its utterances in the manifest."""

    batch: Batch
    indices: Sequence[int]

    @property
    def tokens(self) -> int:
        return self.batch.tokens


def fit(
    translator: Translator,
    parameters: Sequence[nn.Parameter],
    manifest: Manifest,
    recipe: Recipe,
    ctx: Context,
    *,
    dev: Manifest | None = None,
    teacher: Teacher | None = None,
    features: FeatureReader | None = None,
    dev_features: FeatureReader | None = None,
) -> FitResult:
    """Train ``parameters`` of a translator on a manifest, as the recipe says; the model is left in eval mode.

    Args:
        dev: decides when to stop; needed if the recipe has patience.
        teacher: to be learnt from at every token, beside the manifest's targets.
        features: what the encoder, which is not trained, makes of the recordings, where that is known; ``dev_features``
            the same of ``dev``.

    Raises:
        InputError: the features lack a recording, or the teacher has another encoder and needs the audio.
    """
    encode_once = teacher is None or teacher.shares_encoder
    if features is not None and not encode_once:
        raise InputError(
            "features do not go with a teacher that has another encoder than the model, and hears the audio itself: "
            "leave the input features out (null)"
        )
    examples, source = _examples(translator, manifest, recipe, ctx, encode_once=encode_once, features=features)
    epoch = batches_per_epoch(len(manifest), recipe.batch_size)
    stopping = None
    if recipe.patience is not None and dev is not None:
        held_out = HeldOut(translator, dev, ctx, dev_features)
        group = current_group()
        stopping = EarlyStopping(parameters, epoch, recipe.patience, lambda: group.from_first(held_out.loss), ctx)
    torch.manual_seed(recipe.seed + current_group().rank)  # dropout, which each process draws for its own share

    def loss(batch: IndexedBatch, step: int) -> torch.Tensor:
        if teacher is None:
            return translation_loss(translator, batch.batch, recipe.label_smoothing)
        predictions = predict(translator, batch.batch, states=teacher.needs_hidden_states)
        return teacher.loss(batch.batch, batch.indices, predictions, recipe.label_smoothing)

    # With all weights trained, a step is held by the GPU, and their gradients would need memory twice.
    inside = ctx.gradient_checkpointing or (teacher is not None and teacher.needs_hidden_states)
    replay = recipe.method != "full" and not inside
    translator.model.train()
    with (
        gradient_checkpointing(translator.model, ctx.gradient_checkpointing),
        compiled_layers(translator, ctx.compile, recipe.epochs * epoch, replay=replay),
    ):
        outcome = train(
            parameters,
            batches([row.duration for row in manifest.rows], recipe.batch_size, recipe.seed),
            recipe.epochs * epoch,
            lambda indices: IndexedBatch(examples(indices), indices),
            loss,
            recipe,
            ctx,
            title="training",
            stop=stopping or (lambda steps: False),
            stateful={"examples": source, **({"stopping": stopping} if stopping else {})},
        )
    translator.model.eval()
    if stopping is None:
        return FitResult(outcome)
    stopping.restore()
    return FitResult(outcome, stopping.losses, stopping.best_epoch)


def _examples(
    translator: Translator,
    manifest: Manifest,
    recipe: Recipe,
    ctx: Context,
    *,
    encode_once: bool,
    features: FeatureReader | None,
) -> tuple[Callable[[Sequence[int]], Batch], Stateful]:
    """What makes a micro-batch of some utterances, and what remembers between batches."""
    if not recipe.augment:
        examples = Examples(translator, manifest, ctx, encode_once=encode_once, features=features)
        return examples.batch, PerProcessState(examples)
    corpus = Corpus(translator, [manifest], recipe.seed + current_group().rank, ctx)
    return corpus.batch, PerProcessState(corpus)


class HeldOut:
    """Data that is not trained on. Where the encoder is not trained either, its audio is heard once, or not at all if
    what that makes of it is known (``features``)."""

    def __init__(
        self, translator: Translator, manifest: Manifest, ctx: Context, features: FeatureReader | None = None
    ) -> None:
        self._model = translator.model
        self._forced = TeacherForcing(translator, manifest, ctx, features=features)
        self._utterances = len(manifest)
        self._ctx = ctx

    def loss(self) -> float:
        """Teacher-forced cross-entropy in nats per target token, without label smoothing or dropout."""
        training = self._model.training
        self._model.eval()
        with self._ctx.progress("held-out loss", total=self._utterances, unit="utterance") as bar:
            loss = self._forced.loss(bar)
        self._model.train(training)
        return loss


def select_trainable(translator: Translator, parts: Sequence[Part]) -> list[nn.Parameter]:
    """Leave only the named parts trainable, and return their parameters.

    Raises:
        InputError: a part has no parameters of its own (a head tied to the embedding).
    """
    chosen: list[nn.Parameter] = []
    for part in parts:
        inside = [parameter for _, parameter in part_parameters(translator, [part])]
        if not inside:
            raise InputError(f"parts: {part} of {translator.folder} has no parameters of its own to train")
        chosen += inside
    translator.model.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen

"""Fine-tuning a translator on a manifest: the loop with audio, text and, if there is one, a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from stc.data.collate import Batch
from stc.data.manifest import Manifest
from stc.decoding.token_loss import predict, translation_loss
from stc.distillation.token_level import Teacher
from stc.errors import InputError
from stc.models.architecture import Part
from stc.models.parts import part_parameters
from stc.pipeline.stage import Context
from stc.training.acceleration.compile import compiled_layers
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.augmented_corpus import Corpus
from stc.training.checkpoint_state import PerProcessState, Stateful
from stc.training.data_order import batches, batches_per_epoch
from stc.training.examples import Examples
from stc.training.loop import TrainingResult, train
from stc.training.recipe import Recipe
from stc.training.stopping import EarlyStopping
from stc.training.teacher_forcing import TeacherForcing
from stc.workers.worker import current_group

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.load_and_save import Translator


@dataclass(frozen=True)
class IndexedBatch:
    """A micro-batch, and the numbers of its utterances in the manifest, by which a teacher knows them."""

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
) -> TrainingResult:
    """Train ``parameters`` of a translator on a manifest, by a recipe. The model is left in eval mode.

    Args:
        dev: the data for early stopping; needed if the recipe has patience.
        teacher: for distillation at every token, beside the manifest's targets.
        features: the output of the encoder for the manifest's recordings, if it is known; for one that is not trained.
        dev_features: the same for ``dev``.

    Raises:
        InputError: the features lack a recording, or the teacher has another encoder and needs the audio.
    """
    group = current_group()
    encode_once = teacher is None or teacher.shares_encoder
    if features is not None and not encode_once:
        raise InputError(
            "features cannot be used with a teacher that has another encoder than the model, since it needs the audio: "
            "leave the input features out (null)"
        )
    examples: Examples | Corpus
    if recipe.augment:
        examples = Corpus(translator, [manifest], recipe.seed + group.rank, ctx)
    else:
        examples = Examples(translator, manifest, ctx, encode_once=encode_once, features=features)
    stateful: dict[str, Stateful] = {"examples": PerProcessState(examples)}
    epoch = batches_per_epoch(len(manifest), recipe.batch_size)
    stopping = None
    if recipe.patience is not None and dev is not None:
        held_out = TeacherForcing(translator, dev, ctx, features=dev_features)

        def dev_loss() -> float:  # the first process computes it for all
            return group.gather(held_out.loss() if group.is_first else math.nan)[0]

        stopping = EarlyStopping(parameters, epoch, recipe.patience, dev_loss, ctx)
        stateful["stopping"] = stopping
    torch.manual_seed(recipe.seed + group.rank)  # for dropout, which each process draws for its own share

    def loss(batch: IndexedBatch, step: int) -> torch.Tensor:
        if teacher is None:
            return translation_loss(translator, batch.batch, recipe.label_smoothing)
        predictions = predict(translator, batch.batch, states=teacher.needs_hidden_states)
        return teacher.loss(batch.batch, batch.indices, predictions, recipe.label_smoothing)

    # CUDA graphs give no states between layers. If all weights are trained, they save no time, since the GPU is the
    # limit and not the host, and they need memory for all gradients twice.
    between = ctx.gradient_checkpointing or (teacher is not None and teacher.needs_hidden_states)
    replay = recipe.method != "full" and not between
    translator.model.train()
    with (
        gradient_checkpointing(translator.model, ctx.gradient_checkpointing),
        compiled_layers(translator, ctx.compile, recipe.epochs * epoch, replay=replay),
    ):
        result = train(
            parameters,
            batches([row.duration for row in manifest.rows], recipe.batch_size, recipe.seed),
            recipe.epochs * epoch,
            lambda indices: IndexedBatch(examples.batch(indices), indices),
            loss,
            recipe,
            ctx,
            title="training",
            stop=stopping or (lambda steps: False),
            stateful=stateful,
            result_bytes=sum(weight.nbytes for weight in translator.model.parameters()),
        )
    translator.model.eval()
    if stopping is None:
        return result
    stopping.restore()
    return replace(result, dev_losses=stopping.losses, best_epoch=stopping.best_epoch)


def select_trainable(translator: Translator, parts: Sequence[Part]) -> list[nn.Parameter]:
    """Make the named parts trainable and everything else frozen, and return the parts' parameters.

    Raises:
        InputError: a part has no parameters of its own (a head tied to the embedding).
    """
    chosen: list[nn.Parameter] = []
    for part in parts:
        parameters = [parameter for _, parameter in part_parameters(translator, [part])]
        if not parameters:
            raise InputError(f"parts: {part} of {translator.folder} has no parameters of its own to train")
        chosen += parameters
    translator.model.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen

"""Training a translator on a manifest: audio and text into the loop, and the loss on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from stc.data.collate import Batch
from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.architecture import Part
from stc.models.parts import part_parameters
from stc.stage import Context
from stc.training.corpus import Corpus
from stc.training.distillation import Teacher
from stc.training.examples import Examples
from stc.training.loop import Outcome, train
from stc.training.objective import predict, translation_loss
from stc.training.order import batches, batches_per_epoch
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def fit(
    translator: Translator,
    parameters: Iterable[nn.Parameter],
    manifest: Manifest,
    recipe: Recipe,
    ctx: Context,
    teacher: Teacher | None = None,
) -> Outcome:
    """Train ``parameters`` of a translator on a manifest, as the recipe says; the model is left in eval mode.

    Args:
        teacher: to be learnt from at every token, beside the manifest's targets.
    """
    collate = _collate(translator, manifest, recipe, ctx, hear_once=teacher is None or teacher.hears_alike)
    torch.manual_seed(recipe.seed)  # dropout

    def loss(batch: Batch, step: int) -> torch.Tensor:
        if teacher is None:
            return translation_loss(translator, batch, recipe.label_smoothing)
        predictions = predict(translator, batch, states=teacher.wants_states)
        return teacher.loss(batch, predictions, recipe.label_smoothing)

    translator.model.train()
    outcome = train(
        parameters,
        batches([row.duration for row in manifest.rows], recipe.batch_size, recipe.seed),
        recipe.epochs * batches_per_epoch(len(manifest), recipe.batch_size),
        collate,
        loss,
        recipe,
        ctx,
        title="training",
    )
    translator.model.eval()
    return outcome


def _collate(
    translator: Translator, manifest: Manifest, recipe: Recipe, ctx: Context, *, hear_once: bool
) -> Callable[[Sequence[int]], Batch]:
    if not recipe.augment:
        return Examples(translator, manifest, ctx, hear_once=hear_once).batch
    corpus = Corpus(translator, [manifest], recipe.seed, ctx)
    return lambda indices: corpus.batch(indices).translation


@torch.inference_mode()
def held_out_loss(translator: Translator, manifest: Manifest, ctx: Context) -> float:
    """Teacher-forced cross-entropy in nats per target token, without label smoothing."""
    examples = Examples(translator, manifest, ctx)
    total, tokens = 0.0, 0
    with ctx.progress("held-out loss", total=len(manifest), unit="utterance") as bar:
        for start in range(0, len(manifest), ctx.train_micro_batch):
            indices = range(start, min(start + ctx.train_micro_batch, len(manifest)))
            batch = examples.batch(indices)
            total += float(translation_loss(translator, batch))
            tokens += batch.tokens
            bar.update(len(indices))
    return total / tokens


def select(translator: Translator, parts: Sequence[Part]) -> list[nn.Parameter]:
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

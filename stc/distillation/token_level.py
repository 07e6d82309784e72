"""Token-level distillation: the student learns the teacher's distribution over the vocabulary and its hidden states.

It changes the loss and works with any data. Sequence-level distillation (``stages/distill.py``) makes data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.decoding.token_loss import Predictions, cross_entropy, predict
from stc.distillation.cached_logits import TopK
from stc.distillation.options import TokenDistillation
from stc.models.parts import part_parameters, part_state

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator


class Teacher(Protocol):
    """A teacher for every token.

    Attributes:
        shares_encoder: whether the teacher can use the output of the student's encoder.
        needs_hidden_states: whether the student's hidden states are compared with the teacher's.
    """

    shares_encoder: bool
    needs_hidden_states: bool

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        """Return the weighted sum of distillation and cross-entropy, in nats, over the labelled tokens of the batch.

        Args:
            indices: the places of the batch's utterances in the manifest.
            predictions: the student's, with its hidden states if they are needed.
        """


class OnlineTeacher:
    """A model that predicts every batch beside the student.

    Args:
        kept: the number in the teacher of each of the student's decoder layers.
    """

    def __init__(
        self, teacher: Translator, student: Translator, kept: Sequence[int], settings: TokenDistillation
    ) -> None:
        self._translator = teacher
        self._kept = list(kept)
        self._settings = settings
        self.shares_encoder = _has_same_frozen_encoder(teacher, student)
        self.needs_hidden_states = settings.hidden > 0

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        settings = self._settings
        with torch.no_grad():
            batch_for_teacher = replace(batch, encoded=predictions.encoded) if self.shares_encoder else batch
            taught = predict(self._translator, batch_for_teacher, states=self.needs_hidden_states)
        ours, theirs = (
            functional.log_softmax(one.logits / settings.temperature, dim=-1) for one in (predictions, taught)
        )
        loss = _weighted_loss(ours, theirs, settings, predictions, label_smoothing)
        if self.needs_hidden_states:
            expected = [taught.states[layer] for layer in self._kept]
            # The first layer's input comes from the embedding and the projector, which are equal to begin with.
            loss = loss + settings.hidden * hidden_error(predictions.states[1:], expected[1:], batch)
        return loss


class CachedTeacher:
    """Cached predictions of a model for the same manifest: its most probable tokens at each position.

    Args:
        cache: one item for each utterance of the manifest, in its order.
    """

    shares_encoder = True  # it needs no encoder
    needs_hidden_states = False

    def __init__(self, cache: Sequence[TopK], settings: TokenDistillation) -> None:
        self._cache = cache
        self._settings = settings

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        taught = TopK.joined([self._cache[index] for index in indices]).to(predictions.logits.device)
        ours = taught.logprobs_of_same_outcomes(
            functional.log_softmax(predictions.logits / self._settings.temperature, dim=-1)
        )
        return _weighted_loss(ours, taught.outcomes(), self._settings, predictions, label_smoothing)


def _weighted_loss(
    ours: Tensor, theirs: Tensor, settings: TokenDistillation, predictions: Predictions, label_smoothing: float
) -> Tensor:
    loss = settings.weight * settings.temperature**2 * divergence(ours, theirs, settings.reverse)
    if settings.weight < 1:
        loss = loss + (1 - settings.weight) * cross_entropy(predictions, label_smoothing)
    return loss


def divergence(student: Tensor, teacher: Tensor, reverse: float) -> Tensor:
    """Return the Kullback-Leibler divergence between two models' predictions, summed over tokens.

    The forward divergence, KL(teacher ‖ student), makes the student cover everything that the teacher finds likely
    (Hinton et al. 2015, arXiv 1503.02531, section 2, also the source of the loss's factor temperature²). The reverse
    one, KL(student ‖ teacher), makes it avoid what the teacher finds unlikely (Gu et al. 2024, arXiv 2306.08543,
    section 2.1).

    Args:
        student: log probabilities, (tokens, outcomes). ``teacher`` has the same shape.
        reverse: share of the reverse divergence, from 0 to 1; the rest is forward.
    """
    total = student.new_zeros(())
    if reverse < 1:
        total = total + (1 - reverse) * functional.kl_div(student, teacher, reduction="sum", log_target=True)
    if reverse > 0:
        total = total + reverse * functional.kl_div(teacher, student, reduction="sum", log_target=True)
    return total


def hidden_error(student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
    """Return the squared distance of the student's hidden states from the teacher's, relative to the teacher's squared
    norm, over an utterance's positions; the mean over layers, weighted by the utterances' labelled tokens.

    This is patient distillation (Sun et al. 2019, arXiv 1908.09355, section 3.2) at every layer of the student, but
    states are not normalised, since the student's next layer was made for states of the teacher's scale.

    Args:
        student: (utterances, tokens, hidden) of each layer compared. ``teacher`` has the same shape.
    """
    inside = batch.inputs["attention_mask"][..., None]
    total = torch.zeros(len(inside), device=inside.device)
    for ours, theirs in zip(student, teacher, strict=True):
        distance = ((ours.float() - theirs.float()) * inside).square().sum(dim=(1, 2))
        total = total + distance / (theirs.float() * inside).square().sum(dim=(1, 2))
    return (total / max(len(student), 1) * (batch.labels != IGNORED).sum(dim=1)).sum()


def _has_same_frozen_encoder(teacher: Translator, student: Translator) -> bool:
    if next(part_parameters(student, ["encoder"]), None) is not None:
        return False
    ours, theirs = part_state(student, "encoder"), part_state(teacher, "encoder")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name].to(ours[name])) for name in ours)

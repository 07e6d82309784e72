"""Learning from a teacher at every token: its distribution over the vocabulary, and its hidden states.

Sequence-level distillation (``stages/distill.py``) makes data. This changes the loss, and goes with any data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.decoding.predictions import Predictions, cross_entropy, predict
from stc.distillation.cached_logits import TopK
from stc.distillation.options import TokenDistillation
from stc.models.parts import part_parameters, part_state

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


class Teacher(Protocol):
    """What a training learns from at every token.

    Attributes:
        shares_encoder: whether what the student's encoder makes of audio will do for the teacher too.
        needs_hidden_states: whether the student's hidden states are compared with the teacher's.
    """

    shares_encoder: bool
    needs_hidden_states: bool

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        """Distillation and cross-entropy by their weights, in nats, summed over the labelled tokens of the batch.

        Args:
            indices: of the batch's utterances in the manifest.
            predictions: the student's for the batch, with its hidden states if they are wanted.
        """


class OnlineTeacher:
    """A model that hears every batch beside the student.

    Args:
        kept: for each of the student's decoder layers, its number in the teacher.
    """

    def __init__(
        self, teacher: Translator, student: Translator, kept: Sequence[int], settings: TokenDistillation
    ) -> None:
        self._translator = teacher
        self._kept = list(kept)
        self._settings = settings
        self.shares_encoder = _shares_encoder(teacher, student)
        self.needs_hidden_states = settings.hidden > 0

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        settings = self._settings
        with torch.no_grad():
            heard = replace(batch, encoded=predictions.encoded) if self.shares_encoder else batch
            taught = predict(self._translator, heard, states=self.needs_hidden_states)
        ours, theirs = (
            functional.log_softmax(one.logits / settings.temperature, dim=-1) for one in (predictions, taught)
        )
        loss = _mixed(ours, theirs, settings, predictions, label_smoothing)
        if self.needs_hidden_states:
            expected = [taught.states[layer] for layer in self._kept]
            # Both models get the first layer's input from the same embedding and projector to begin with.
            loss = loss + settings.hidden * hidden_error(predictions.states[1:], expected[1:], batch)
        return loss


class CachedTeacher:
    """What a model predicted for the same manifest before: its most probable tokens at each position.

    Args:
        cache: of each utterance of the manifest, in its order.
    """

    shares_encoder = True  # it does not hear
    needs_hidden_states = False

    def __init__(self, cache: Sequence[TopK], settings: TokenDistillation) -> None:
        self._cache = cache
        self._settings = settings

    def loss(self, batch: Batch, indices: Sequence[int], predictions: Predictions, label_smoothing: float) -> Tensor:
        taught = TopK.joined([self._cache[index] for index in indices]).to(predictions.logits.device)
        ours = taught.logprobs_of_same_outcomes(
            functional.log_softmax(predictions.logits / self._settings.temperature, dim=-1)
        )
        return _mixed(ours, taught.outcomes(), self._settings, predictions, label_smoothing)


def _mixed(
    ours: Tensor, theirs: Tensor, settings: TokenDistillation, predictions: Predictions, label_smoothing: float
) -> Tensor:
    loss = settings.weight * settings.temperature**2 * divergence(ours, theirs, settings.reverse)
    if settings.weight < 1:
        loss = loss + (1 - settings.weight) * cross_entropy(predictions, label_smoothing)
    return loss


def divergence(student: Tensor, teacher: Tensor, reverse: float) -> Tensor:
    """Kullback-Leibler divergence between two models' predictions, summed over tokens.

    Forward is KL(teacher ‖ student), which covers all that the teacher finds likely (Hinton et al. 2015,
    arXiv 1503.02531, section 2, from where also is the loss's factor temperature²); reverse is
    KL(student ‖ teacher), which avoids what it finds unlikely (Gu et al. 2024, arXiv 2306.08543, section 2.1).

    Args:
        student: logarithms of probabilities, (tokens, outcomes), and ``teacher``, the same.
        reverse: share of the reverse divergence, from 0 to 1; the rest is forward.
    """
    total = student.new_zeros(())
    if reverse < 1:
        total = total + (1 - reverse) * functional.kl_div(student, teacher, reduction="sum", log_target=True)
    if reverse > 0:
        total = total + reverse * functional.kl_div(teacher, student, reduction="sum", log_target=True)
    return total


def hidden_error(student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
    """Squared distance of the student's hidden states from the teacher's, relative to the teacher's squared norm,
    over an utterance's positions; the mean over layers. An utterance counts as often as it has labelled tokens.

    As patient distillation (Sun et al. 2019, arXiv 1908.09355, section 3.2) at every layer the student has, but
    without their normalisation of each state: the student's next layer was made for states of the teacher's scale.

    Args:
        student: (utterances, tokens, hidden) of each layer compared, and ``teacher``, the same.
    """
    inside = batch.inputs["attention_mask"][..., None]
    total = torch.zeros(len(inside), device=inside.device)
    for ours, theirs in zip(student, teacher, strict=True):
        distance = ((ours.float() - theirs.float()) * inside).square().sum(dim=(1, 2))
        total = total + distance / (theirs.float() * inside).square().sum(dim=(1, 2))
    return (total / max(len(student), 1) * (batch.labels != IGNORED).sum(dim=1)).sum()


def _shares_encoder(teacher: Translator, student: Translator) -> bool:
    """Whether the student's encoder is and stays the teacher's, so that what it hears will do for both."""
    if next(part_parameters(student, ["encoder"]), None) is not None:
        return False
    ours, theirs = part_state(student, "encoder"), part_state(teacher, "encoder")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name].to(ours[name])) for name in ours)

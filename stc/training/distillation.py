"""Learning from a teacher at every token: its distribution over the vocabulary, and its hidden states.

Sequence-level distillation (``stages/distill.py``) makes data. This changes the loss, and goes with any data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.models.parts import part_parameters, part_state
from stc.training.objective import Predictions, cross_entropy, predict
from stc.training.recipe import TokenDistillation

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


class Teacher:
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
        self.hears_alike = _hears_alike(teacher, student)

    def loss(self, batch: Batch, predictions: Predictions, label_smoothing: float) -> Tensor:
        """Distillation and cross-entropy by their weights, in nats, summed over the labelled tokens of the batch.

        Args:
            predictions: the student's for the batch, with its hidden states where :attr:`wants_states`.
        """
        settings = self._settings
        with torch.no_grad():
            heard = replace(batch, heard=predictions.heard) if self.hears_alike else batch
            taught = predict(self._translator, heard, states=self.wants_states)
        loss = settings.weight * divergence(
            predictions.logits, taught.logits, temperature=settings.temperature, reverse=settings.reverse
        )
        if settings.weight < 1:
            loss = loss + (1 - settings.weight) * cross_entropy(predictions, label_smoothing)
        if self.wants_states:
            expected = [taught.states[layer] for layer in self._kept]
            # Both models get the first layer's input from the same embedding and projector to begin with.
            loss = loss + settings.hidden * hidden_error(predictions.states[1:], expected[1:], batch)
        return loss

    @property
    def wants_states(self) -> bool:
        return self._settings.hidden > 0


def divergence(student: Tensor, teacher: Tensor, *, temperature: float, reverse: float) -> Tensor:
    """Kullback-Leibler divergence between two models' predictions, summed over tokens, times temperature².

    Forward is KL(teacher ‖ student), which covers all that the teacher finds likely (Hinton et al. 2015,
    arXiv 1503.02531, section 2, also for the factor); reverse is KL(student ‖ teacher), which avoids what it finds
    unlikely (Gu et al. 2024, arXiv 2306.08543, section 2.1).

    Args:
        student: logits (tokens, vocabulary), and ``teacher``, the same.
        reverse: share of the reverse divergence, from 0 to 1; the rest is forward.
    """
    ours = functional.log_softmax(student / temperature, dim=-1)
    theirs = functional.log_softmax(teacher / temperature, dim=-1)
    total = student.new_zeros(())
    if reverse < 1:
        total = total + (1 - reverse) * functional.kl_div(ours, theirs, reduction="sum", log_target=True)
    if reverse > 0:
        total = total + reverse * functional.kl_div(theirs, ours, reduction="sum", log_target=True)
    return total * temperature**2


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


def _hears_alike(teacher: Translator, student: Translator) -> bool:
    """Whether the student's encoder is and stays the teacher's, so that what it hears will do for both."""
    if next(part_parameters(student, ["encoder"]), None) is not None:
        return False
    ours, theirs = part_state(student, "encoder"), part_state(teacher, "encoder")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name].to(ours[name])) for name in ours)

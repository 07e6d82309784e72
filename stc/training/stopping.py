"""Early stopping: end a training when the held-out loss no longer falls, and return to the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from stc.pipeline.stage import Context
from stc.training.checkpoint_state import State


class EarlyStopping:
    """Computes the held-out loss after every epoch. The training loop calls it after every step.

    Args:
        parameters: the trained ones; a copy of the best is kept in main memory.
        epoch: steps per epoch.
        patience: the training ends after this many epochs in a row without a new lowest loss.
        loss: returns the held-out loss of the model as it is.

    Attributes:
        losses: the held-out loss after each epoch.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        epoch: int,
        patience: int,
        loss: Callable[[], float],
        ctx: Context,
    ) -> None:
        self._parameters = parameters
        self._epoch = epoch
        self._patience = patience
        self._loss = loss
        self._ctx = ctx
        self._best: list[torch.Tensor] = []
        self.losses: list[float] = []

    def __call__(self, steps: int) -> bool:
        """Return whether to stop after this many steps."""
        if steps % self._epoch:
            return False
        self.losses.append(self._loss())
        self._ctx.log({"dev_loss": self.losses[-1]}, step=steps)
        if self.best_epoch == len(self.losses):
            self._best = [parameter.detach().cpu().clone() for parameter in self._parameters]
        return len(self.losses) - self.best_epoch >= self._patience

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest loss, counted from 1. A loss of NaN counts as the highest."""
        return min(range(len(self.losses)), key=lambda epoch: (math.isnan(self.losses[epoch]), self.losses[epoch])) + 1

    def state(self) -> State:
        return State({"losses": list(self.losses)}, {str(number): best for number, best in enumerate(self._best)})

    def load_state(self, state: State) -> None:
        self.losses = list(state.values["losses"])
        self._best = [state.tensors[str(number)].clone() for number in range(len(state.tensors))]

    @torch.no_grad()
    def restore(self) -> None:
        """Give the parameters the values they had after the best epoch."""
        for parameter, best in zip(self._parameters, self._best, strict=True):
            parameter.copy_(best)

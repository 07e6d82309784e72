"""Stopping a training when held-out data says so, and going back to the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from stc.pipeline.stage import Context
from stc.training.checkpoint_state import State


class EarlyStopping:
    """Looks at held-out data after every epoch; called by the training loop after every step.

    Args:
        parameters: what is trained; a copy of the best is kept in main memory.
        epoch: steps an epoch has.
        patience: how many epochs in a row may fail to be better than the best before the training ends.
        loss: on the held-out data, of the model as it is.

    Attributes:
        losses: after each epoch.
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
        """Whether to stop after so many steps."""
        if steps % self._epoch:
            return False
        self.losses.append(self._loss())
        self._ctx.log({"dev_loss": self.losses[-1]}, step=steps)
        if self.best_epoch == len(self.losses):
            self._best = [parameter.detach().cpu().clone() for parameter in self._parameters]
        return len(self.losses) - self.best_epoch >= self._patience

    @property
    def best_epoch(self) -> int:
        """Counted from 1; the first of those with the lowest loss."""
        return min(range(len(self.losses)), key=lambda epoch: _unless_nan(self.losses[epoch])) + 1

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


def _unless_nan(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss

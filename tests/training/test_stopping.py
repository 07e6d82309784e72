"""Early stopping returns to the best epoch."""

import math

import torch
from torch import nn

from stc.pipeline.stage import Context
from stc.training.stopping import EarlyStopping


def test_an_epoch_whose_loss_is_no_number_is_never_the_best(ctx: Context) -> None:
    weight = nn.Parameter(torch.zeros(1))
    losses = iter([math.nan, 0.5, 0.4])
    stopping = EarlyStopping([weight], 1, 3, lambda: next(losses), ctx)
    for epoch in (1, 2, 3):
        with torch.no_grad():
            weight.fill_(epoch)
        stopping(epoch)
    stopping.restore()
    assert stopping.best_epoch == 3
    assert weight.item() == 3

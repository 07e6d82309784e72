"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) and its learning rate.

Its moments have the type of the weights or 8 bits (Dettmers et al. 2022, arXiv 2110.02861, by bitsandbytes). In 8 bits
each block of 256 elements of a moment has its own scale, and its elements are codes in a table that all blocks share.
The moments of a weight with fewer than :data:`EIGHT_BITS_FROM` elements stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from stc.errors import InputError, first_line
from stc.training.recipe import Optimisation

EIGHT_BITS_FROM = 4096  # elements of a weight: bitsandbytes' own default


def make_optimizer(parameters: list[nn.Parameter], settings: Optimisation, device: str) -> torch.optim.Optimizer:
    """Return an optimizer with weight decay on matrices, and none on biases and norms.

    Raises:
        InputError: the optimizer needs bitsandbytes, which does not work on the device.
    """
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    betas = (0.9, settings.beta2)
    if settings.optimizer == "adamw_8bit":
        _check_bitsandbytes(device)
        return _in_8_bits(groups, lr=settings.learning_rate, betas=betas)
    fused = torch.device(device).type == "cuda"
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=fused)


def make_schedule(optimizer: torch.optim.Optimizer, settings: Optimisation, steps: int) -> LambdaLR:
    """Return the learning rate over a training of ``steps``: up from 0 in the warm-up, then by the schedule."""
    from transformers.optimization import get_scheduler

    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    scheduler: LambdaLR = get_scheduler(name, optimizer, settings.warmup(steps), steps)
    return scheduler


def _in_8_bits(groups: list[Any], **settings: Any) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit

    made: torch.optim.Optimizer = AdamW8bit(groups, min_8bit_size=EIGHT_BITS_FROM, **settings)
    return made


def _check_bitsandbytes(device: str) -> None:
    """Do one step on a small weight, so that an error comes before the training."""
    try:
        weight = nn.Parameter(torch.zeros(EIGHT_BITS_FROM, device=device))
        weight.grad = torch.ones_like(weight)
        _in_8_bits([{"params": [weight]}], lr=1.0).step()
    except Exception as fault:  # bitsandbytes raises what its native library does
        raise InputError(
            f"optimizer=adamw_8bit: bitsandbytes fails on {device}: {first_line(fault)}; "
            "optimizer=adamw does not need it"
        ) from fault

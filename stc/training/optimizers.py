"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), with moments as wide as the weights or in 8 bits, and its
learning rate from step to step.

In 8 bits (Dettmers et al. 2022, arXiv 2110.02861, by bitsandbytes) each block of 256 elements of a moment has a scale
of its own, and its elements are codes in a table that all share. The moments of a weight with fewer than
:data:`EIGHT_BITS_FROM` elements stay in float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from stc.errors import InputError, first_line
from stc.training.recipe import Optimisation

EIGHT_BITS_FROM = 4096  # elements of a weight: bitsandbytes' own default


def make_optimizer(parameters: list[nn.Parameter], settings: Optimisation, device: str) -> torch.optim.Optimizer:
    """An optimizer that decays matrices, and neither biases nor norms.

    Raises:
        InputError: bitsandbytes is wanted and does not work on the device.
    """
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    betas = (0.9, settings.beta2)
    if settings.optimizer == "adamw_8bit":
        _try_out(device)
        return _in_8_bits(groups, lr=settings.learning_rate, betas=betas)
    fused = torch.device(device).type == "cuda"
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=fused)


def make_schedule(optimizer: torch.optim.Optimizer, settings: Optimisation, steps: int) -> LambdaLR:
    """Return the course of the learning rate over a training of ``steps``: up from 0 in the warm-up, then as
    ``settings.schedule`` says."""
    warmup = settings.warmup(steps)
    rest = steps - warmup

    def share(step: int) -> float:
        """Return the part of its peak that the learning rate is at, after so many steps."""
        if step < warmup:
            return step / warmup
        match settings.schedule:
            case "constant":
                return 1.0
            case "linear":
                return (steps - step) / rest
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * ((step - warmup) / rest)))

    return LambdaLR(optimizer, share)


def _in_8_bits(groups: list[Any], **settings: Any) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit

    made: torch.optim.Optimizer = AdamW8bit(groups, min_8bit_size=EIGHT_BITS_FROM, **settings)
    return made


def _try_out(device: str) -> None:
    """One step on a small weight, so that what is missing is known before a large one is trained."""
    try:
        weight = nn.Parameter(torch.zeros(EIGHT_BITS_FROM, device=device))
        weight.grad = torch.ones_like(weight)
        _in_8_bits([{"params": [weight]}], lr=1.0).step()
    except Exception as fault:  # bitsandbytes raises what its native library does
        said = first_line(fault)
        raise InputError(
            f"optimizer=adamw_8bit: bitsandbytes fails on {device}: {said}; optimizer=adamw does without it"
        ) from fault

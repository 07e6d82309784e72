"""The training loop.

It knows nothing of speech. It is given global batches of example indices, a function that makes a micro-batch of some
examples, and a function that returns the summed loss of a micro-batch. Augmentation and further losses are parts of
these two functions.

A training that was killed continues from its last checkpoint (``checkpoints.py``) when it is started again. In float32
on the CPU it ends with the weights and curves of a training that was not killed.

Several processes (:mod:`stc.workers`) share every global batch, and all take the same step.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Protocol, TypeVar

import torch
from torch import nn

from stc.pipeline.stage import Context
from stc.system.memory import BatchSize
from stc.training.checkpoint_state import PerProcessState, RandomState, RecentLosses, Stateful, TrainedWeights
from stc.training.checkpoints import Checkpoints
from stc.training.optimizers import make_optimizer, make_schedule
from stc.training.recipe import Optimisation
from stc.workers.worker import current_group

log = logging.getLogger(__name__)

MICRO_BATCH = "resources.train_micro_batch"  # the setting, for messages
REPORT_EVERY = 10  # steps; in between the losses stay on the device, so that it need not wait


class MicroBatch(Protocol):
    """Some examples. ``tokens`` is their weight in the loss."""

    @property
    def tokens(self) -> int: ...


B = TypeVar("B", bound=MicroBatch)


@dataclass(frozen=True)
class TrainingResult:
    """The end of a training.

    Attributes:
        loss: the mean per token over the last reported steps (at most :data:`REPORT_EVERY`).
        dev_losses: the held-out loss after each epoch, if early stopping computed it.
    """

    steps: int
    loss: float
    dev_losses: Sequence[float] = ()
    best_epoch: int | None = None


def train(
    parameters: Iterable[nn.Parameter],
    plan: Iterable[Sequence[int]],
    steps: int,
    collate: Callable[[Sequence[int]], B],
    loss: Callable[[B, int], torch.Tensor],
    settings: Optimisation,
    ctx: Context,
    title: str,
    stop: Callable[[int], bool] = lambda steps: False,
    stateful: Mapping[str, Stateful] = MappingProxyType({}),
    result_bytes: int = 0,
) -> TrainingResult:
    """Minimise ``loss`` by AdamW (``optimizers.py``).

    Args:
        parameters: the ones to train.
        plan: global batches, as indices of examples; the first ``steps`` of them are used. It must be the same when a
            training continues.
        collate: makes the micro-batch of some indices, on the device.
        loss: (micro-batch, step counted from 0) → loss summed over the micro-batch's tokens.
        stop: (steps done) → whether to end here; called after every step.
        stateful: the parts of ``collate``, ``loss`` and ``stop`` that a step changes, by name. PyTorch's own random
            numbers need not be among them.
        result_bytes: what will be written at the end; checkpoints leave room for it.

    Raises:
        InputError: the optimizer does not work on the device.
        StcError: the loss, the last weights, or a gradient in 8 bits is not finite. The message names the step and the
            last checkpoint.
    """
    group = current_group()
    warmup = settings.warmup(steps)
    if warmup < settings.warmup_steps and group.is_first:
        log.warning(
            "warmup_steps=%d, and the training has %d steps: the warm-up is shortened to %d",
            settings.warmup_steps,
            steps,
            warmup,
        )
    trained = list(parameters)
    optimizer = make_optimizer(trained, settings, ctx.device)
    scheduler = make_schedule(optimizer, settings, steps)
    losses = RecentLosses(ctx.device)
    checkpoints = Checkpoints(
        ctx.scratch / "checkpoints",
        TrainedWeights(trained, optimizer, scheduler),
        {**stateful, "losses": losses, "random": PerProcessState(RandomState(ctx.device))},
        steps,
        settings.model_dump(mode="json"),
        result_bytes,
    )
    micro_batch = BatchSize(ctx.train_micro_batch, MICRO_BATCH)
    mean = math.nan
    done = first = last_report = checkpoints.resume()
    reported_at = time.perf_counter()
    with ctx.progress(title, total=steps, unit="step") as bar, checkpoints:
        bar.update(first)
        for step, indices in zip(range(first, steps), islice(plan, first, None), strict=False):
            checkpoints.before_step(step)

            def gradient(size: int, step: int = step, indices: Sequence[int] = group.share_of(indices)) -> torch.Tensor:
                def compute() -> tuple[torch.Tensor, int]:
                    optimizer.zero_grad(set_to_none=True)  # a larger size may have left some before memory ran out
                    micro = [collate(indices[at : at + size]) for at in range(0, len(indices), size)]
                    checkpointing = ctx.gradient_checkpointing
                    share = accumulate(micro, step, loss, settings, ctx.device, gradient_checkpointing=checkpointing)
                    return share, sum(batch.tokens for batch in micro)

                return group.mean_loss(trained, compute)

            losses.each.append(micro_batch.attempt(gradient))
            norm = nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
            if settings.optimizer == "adamw_8bit" and not torch.isfinite(norm):  # its kernels skip such gradients
                raise checkpoints.failure(f"the gradient of step {step + 1} is not finite")
            rate = scheduler.get_last_lr()[0]
            checkpoints.before_update()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
            bar.update(1)
            done = step + 1
            stopped = stop(done)
            if done % REPORT_EVERY == 0 or done == steps or stopped:
                mean = _mean(losses.each, done - len(losses.each), checkpoints)
                now = time.perf_counter()
                ctx.log(
                    {
                        "loss": mean,
                        "learning_rate": rate,
                        "gradient_norm": float(norm),
                        "steps_per_second": (done - last_report) / (now - reported_at),
                    },
                    step=done,
                )
                losses.each, reported_at, last_report = [], now, done
                bar.update(0, f"loss {mean:.3f}, learning rate {rate:.2g}")
            if stopped:
                break
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):  # no later loss would show it
        raise checkpoints.failure(f"the weights after step {done}, the last, are not finite")
    return TrainingResult(done, mean)


def accumulate(
    micro: Sequence[B],
    step: int,
    loss: Callable[[B, int], torch.Tensor],
    settings: Optimisation,
    device: str,
    *,
    gradient_checkpointing: bool = False,
) -> torch.Tensor:
    """Add the gradient of the global batch's mean loss per token to ``.grad``, and return that loss.

    Every micro-batch's sum is divided by the tokens of the whole global batch. So the gradient does not depend on how
    the batch is cut, which it would with a mean of means.

    Args:
        gradient_checkpointing: whether the backward pass computes the layers again
            (``acceleration/gradient_checkpointing.py``).
    """
    tokens = sum(batch.tokens for batch in micro)
    total = torch.zeros((), device=device)
    # Autocast keeps its bfloat16 copy of every weight until it ends. The graph holds these copies anyway, except with
    # gradient checkpointing: then they alone would take 2 bytes per parameter.
    autocast = torch.autocast(
        torch.device(device).type,
        dtype=torch.bfloat16,
        enabled=settings.precision == "bfloat16-mixed",
        cache_enabled=not gradient_checkpointing,
    )
    for batch in micro:
        with autocast:
            share = loss(batch, step) / tokens
        share.backward()
        total += share.detach()
    return total


def _mean(losses: list[torch.Tensor], first: int, checkpoints: Checkpoints) -> float:
    """Return the mean loss of the steps from ``first`` on. Raise an error at a loss that is not finite."""
    values: list[float] = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=first + 1):
        if not math.isfinite(value):
            raise checkpoints.failure(f"the loss of step {step} is {value}")
    return sum(values) / len(values)

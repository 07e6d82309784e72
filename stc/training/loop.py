"""The one training loop.

It knows nothing of speech: it is given global batches of example indices, a function that makes a micro-batch of
some of them, and a function that gives a micro-batch's summed loss. What a stage wants beyond that (augmentation,
a further loss term) it puts into those two functions.

A training that was killed goes on from its last checkpoint (``checkpoints.py``) when it is started again, and in
float32 on the CPU ends with the weights and curves of one that was not.

Several processes (:mod:`stc.workers`) share every global batch, and take the same step each.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Protocol, TypeVar

import torch
from torch import nn

from stc.errors import StcError
from stc.pipeline.stage import Context
from stc.system.memory import BatchSize
from stc.training.checkpoint_state import PerProcessState, RandomState, RecentLosses, Stateful, TrainedWeights
from stc.training.checkpoints import Checkpoints
from stc.training.optimizers import make_optimizer, make_schedule
from stc.training.recipe import Optimisation
from stc.workers.worker import current_group

log = logging.getLogger(__name__)

MICRO_BATCH = "resources.train_micro_batch"  # what the user sets
REPORT_EVERY = 10  # steps; losses stay on the device in between, so that it need not wait


class Weighted(Protocol):
    """A micro-batch: ``tokens`` is how much it weighs in the loss."""

    @property
    def tokens(self) -> int: ...


B = TypeVar("B", bound=Weighted)


@dataclass(frozen=True)
class TrainingResult:
    """``loss`` is the mean per token over the last reported steps (at most :data:`REPORT_EVERY`)."""

    steps: int
    loss: float


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
) -> TrainingResult:
    """Minimise ``loss`` by AdamW (``optimizers.py``).

    Args:
        parameters: what is trained.
        plan: global batches, as indices of examples; the first ``steps`` of them are used.
        collate: makes the micro-batch of some indices, on the device.
        loss: (micro-batch, step counted from 0) → loss summed over the micro-batch's tokens.
        stop: (steps done) → whether to end here; asked after every step.
        stateful: what of ``collate``, ``loss`` and ``stop`` is another after a step than before, by name. PyTorch's
            own random numbers need not be named, nor ``plan``, which has to be the same each time.

    Raises:
        InputError: the optimizer does not work on the device.
        StcError: the loss is not finite, or the weights after the last step, or a gradient that the optimizer would
            pass over; naming the step and the last checkpoint.
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
    )
    micro_batch = BatchSize(ctx.train_micro_batch, MICRO_BATCH)
    mean = math.nan
    done = begun = checkpoints.resume()
    reported = time.perf_counter()
    since = begun
    with ctx.progress(title, total=steps, unit="step") as bar, checkpoints:
        bar.update(begun)
        for step, indices in zip(range(begun, steps), islice(plan, begun, None), strict=False):
            checkpoints.before_step(step)

            def gradient(size: int, step: int = step, indices: Sequence[int] = group.share_of(indices)) -> torch.Tensor:
                def own() -> tuple[torch.Tensor, int]:
                    optimizer.zero_grad(set_to_none=True)  # of what a larger size got to before memory ran out
                    micro = [collate(indices[at : at + size]) for at in range(0, len(indices), size)]
                    again = ctx.gradient_checkpointing
                    share = accumulate(micro, step, loss, settings, ctx.device, gradient_checkpointing=again)
                    return share, sum(batch.tokens for batch in micro)

                return group.mean_loss(trained, own)

            losses.each.append(micro_batch.attempt(gradient))
            norm = nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
            if settings.optimizer == "adamw_8bit" and not torch.isfinite(norm):  # its kernels skip what is not finite
                raise StcError(
                    f"training stopped: the gradient of step {step + 1} is not finite; {checkpoints.advice()}"
                )
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
                        "steps_per_second": (done - since) / (now - reported),
                    },
                    step=done,
                )
                losses.each, reported, since = [], now, done
                bar.update(0, f"loss {mean:.3f}, learning rate {rate:.2g}")
            if stopped:
                break
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):  # no loss is left that would tell
        raise StcError(
            f"training stopped: step {done}, the last, made weights that are not finite; {checkpoints.advice()}"
        )
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

    Every micro-batch's sum is divided by the tokens of the whole global batch, so the gradient doesn't depend on
    how it is cut, which a mean of means would.

    Args:
        gradient_checkpointing: whether the loss computes its layers again in the backward pass
            (``acceleration/gradient_checkpointing.py``).
    """
    tokens = sum(batch.tokens for batch in micro)
    total = torch.zeros((), device=device)
    for batch in micro:
        with _precision(settings, device, gradient_checkpointing):
            share = loss(batch, step) / tokens
        share.backward()
        total += share.detach()
    return total


def _precision(settings: Optimisation, device: str, gradient_checkpointing: bool) -> AbstractContextManager[object]:
    if settings.precision != "bfloat16-mixed":
        return nullcontext()
    # Autocast keeps its bfloat16 copy of every weight until it ends. Without recomputing, the graph holds the copies
    # anyway; with it, it holds none, and they alone would take 2 bytes a parameter.
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, cache_enabled=not gradient_checkpointing)


def _mean(losses: list[torch.Tensor], first: int, checkpoints: Checkpoints) -> float:
    """The mean of the losses of the steps from ``first`` (counted from 0) on; stops at one that is not finite."""
    values: list[float] = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=first + 1):
        if not math.isfinite(value):
            raise StcError(f"training stopped: the loss of step {step} is {value}; {checkpoints.advice()}")
    return sum(values) / len(values)

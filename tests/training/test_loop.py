"""The loop: results that don't depend on the micro-batch, and a stop at a loss that is not finite."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import nn

from stc.errors import StcError
from stc.pipeline.stage import Context
from stc.system.console import progress
from stc.training.loop import accumulate, train
from stc.training.recipe import Optimisation

SETTINGS = Optimisation(
    batch_size=6,
    learning_rate=0.05,
    schedule="cosine",
    warmup_steps=2,
    weight_decay=0.1,
    beta2=0.99,
    max_grad_norm=1.0,
    label_smoothing=0.0,
    precision="float32",
    seed=0,
)


@dataclass(frozen=True)
class Points:
    x: torch.Tensor
    y: torch.Tensor
    tokens: int


class Problem:
    """Linear regression on examples that weigh 1 to 6 tokens each."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = [torch.randn(count, 3, generator=generator) for count in range(1, 7)]
        self.model = nn.Linear(3, 1)
        with torch.no_grad():
            self.model.weight.fill_(0.5)
            self.model.bias.zero_()

    def collate(self, indices: Sequence[int]) -> Points:
        x = torch.cat([self.x[index] for index in indices])
        return Points(x, x.sum(dim=1, keepdim=True) + 2, len(x))

    def loss(self, batch: Points, step: int) -> torch.Tensor:
        return (self.model(batch.x) - batch.y).square().sum()

    def train(self, ctx: Context, steps: int = 30, **changes: Any) -> float:
        settings = SETTINGS.model_copy(update=changes)
        plan = repeat(range(6))
        return train(self.model.parameters(), plan, steps, self.collate, self.loss, settings, ctx, "test").loss


@pytest.mark.parametrize("cut", [[[0], [1], [2], [3], [4], [5]], [[0, 1, 2, 3], [4, 5]]])
def test_loss_and_gradient_do_not_depend_on_the_micro_batch(cut: list[list[int]]) -> None:
    whole, parts = Problem(), Problem()
    first = accumulate([whole.collate(range(6))], 0, whole.loss, SETTINGS, "cpu")
    second = accumulate([parts.collate(indices) for indices in cut], 0, parts.loss, SETTINGS, "cpu")
    torch.testing.assert_close(first, second)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_trained_weights_do_not_depend_on_the_micro_batch(ctx: Context) -> None:
    whole, parts = Problem(), Problem()
    whole.train(replace(ctx, train_micro_batch=6))
    parts.train(replace(ctx, train_micro_batch=4))
    torch.testing.assert_close(whole.model.weight, parts.model.weight)


def test_training_finds_the_solution(ctx: Context) -> None:
    problem = Problem()
    assert problem.train(ctx, steps=200, weight_decay=0.0, learning_rate=0.2, max_grad_norm=100.0) < 1e-2
    torch.testing.assert_close(problem.model.weight, torch.ones(1, 3), atol=0.05, rtol=0)


def test_a_loss_that_is_not_finite_stops_training_and_names_the_step(ctx: Context) -> None:
    problem = Problem()
    healthy = problem.loss
    problem.loss = lambda batch, step: healthy(batch, step) * (float("nan") if step >= 6 else 1.0)  # type: ignore[method-assign]
    with pytest.raises(StcError, match="step 7"):
        problem.train(ctx)


def test_weights_that_the_last_step_makes_infinite_are_not_the_end_of_a_training(ctx: Context) -> None:
    problem = Problem()
    healthy = problem.loss

    def loss(batch: Points, step: int) -> torch.Tensor:  # itself finite, its gradient at the last step is not
        return healthy(batch, step) + (torch.sqrt(problem.model.weight.sum() * 0) if step == 11 else 0)

    problem.loss = loss  # type: ignore[method-assign]
    with pytest.raises(StcError, match=r"step 12, the last, .*not finite"):
        problem.train(ctx, steps=12)


def test_a_warm_up_as_long_as_the_training_is_shortened_to_a_tenth_with_a_warning(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    rates: list[float] = []
    logging_ctx = replace(ctx, log=lambda metrics, step: rates.append(metrics["learning_rate"]))
    Problem().train(logging_ctx, steps=20, warmup_steps=400, schedule="constant", learning_rate=0.05)
    assert rates == [0.05, 0.05]  # after 10 and 20 steps; the warm-up takes 2
    assert "warmup_steps=400" in caplog.text
    assert "20 steps" in caplog.text


def test_a_warm_up_shorter_than_the_training_is_not_changed() -> None:
    assert [SETTINGS.model_copy(update={"warmup_steps": 10}).warmup(steps) for steps in (12, 11, 10, 9)] == [
        10,
        10,
        1,
        0,
    ]


def test_a_training_shows_its_progress_and_loss(
    ctx: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "stc.progress")
    monkeypatch.setattr("stc.system.console.LOG_EVERY", 0.0)
    Problem().train(replace(ctx, progress=progress), steps=30)
    assert any("10 of 30 steps, loss " in message and " left" in message for message in caplog.messages)


def test_the_schedule_warms_up_and_decays_to_nothing(ctx: Context) -> None:
    seen: dict[int, dict[str, float]] = {}
    problem = Problem()
    problem.train(replace(ctx, log=lambda metrics, step: seen.update({step: metrics})), steps=40, warmup_steps=10)
    rates = [seen[step]["learning_rate"] for step in (10, 20, 30, 40)]
    assert rates[0] == pytest.approx(0.9 * 0.05)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.01 * 0.05
    assert all(metrics["loss"] > 0 for metrics in seen.values())


def test_mixed_precision_keeps_float32_weights(ctx: Context) -> None:
    problem = Problem()
    exact = Problem().train(ctx)
    mixed = problem.train(ctx, precision="bfloat16-mixed")
    assert problem.model.weight.dtype == torch.float32
    assert mixed != exact
    assert mixed == pytest.approx(exact, rel=0.1)


def test_training_without_memory_for_a_micro_batch_gives_the_weights_of_one_with_it(ctx: Context) -> None:
    whole, short = Problem(), Problem()
    healthy = short.loss

    def loss(batch: Points, step: int) -> torch.Tensor:
        if batch.tokens > 8:  # of a machine that has memory for no more; no memory really runs out here
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return healthy(batch, step)

    short.loss = loss  # type: ignore[method-assign]
    whole.train(replace(ctx, train_micro_batch=6))
    short.train(replace(ctx, train_micro_batch=6))
    torch.testing.assert_close(whole.model.weight, short.model.weight)

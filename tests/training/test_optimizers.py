"""AdamW with moments in 8 bits takes nearly the steps of AdamW; if bitsandbytes fails, no step is taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_loop import SETTINGS
from torch import nn

from stc.errors import InputError
from stc.training.optimizers import EIGHT_BITS_FROM, make_optimizer, make_schedule

IN_8_BITS = SETTINGS.model_copy(update={"optimizer": "adamw_8bit"})


def after(settings: Any, steps: int) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """A matrix and a short vector that have taken steps with one random gradient after another."""
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(64, 128, generator=generator)), nn.Parameter(torch.zeros(5))]
    before = weights[0].detach().clone()
    optimizer = make_optimizer(weights, settings, "cpu")
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return weights[0].detach() - before, optimizer


def test_steps_in_8_bits_are_those_of_adamw_to_a_few_hundredths() -> None:
    exact, rounded = after(SETTINGS, 20)[0], after(IN_8_BITS, 20)[0]
    assert not torch.equal(exact, rounded)
    assert float((rounded - exact).norm() / exact.norm()) < 0.05


def test_moments_take_a_byte_from_4096_elements_on() -> None:
    optimizer = after(IN_8_BITS, 1)[1]
    for weight, state in optimizer.state.items():
        expected = torch.uint8 if weight.numel() >= EIGHT_BITS_FROM else torch.float32
        assert (state["state1"].dtype, state["state2"].dtype) == (expected, expected)


def test_vectors_do_not_decay_in_either() -> None:
    for settings in (SETTINGS, IN_8_BITS):
        decays = [
            (weight.ndim, group["weight_decay"])
            for group in after(settings, 1)[1].param_groups
            for weight in group["params"]
        ]
        assert decays == [(2, settings.weight_decay), (1, 0.0)]


@pytest.mark.parametrize(
    ("schedule", "then"), [("constant", [1, 1, 1]), ("linear", [0.75, 0.5, 0]), ("cosine", [0.8536, 0.5, 0])]
)
def test_the_learning_rate_goes_up_to_its_peak_and_then_as_the_schedule_says(schedule: str, then: list[float]) -> None:
    settings = SETTINGS.model_copy(update={"schedule": schedule, "warmup_steps": 2})
    optimizer = make_optimizer([nn.Parameter(torch.zeros(1))], settings, "cpu")
    scheduler = make_schedule(optimizer, settings, 10)
    rates = []
    for _ in range(11):
        rates += scheduler.get_last_lr()[:1]
        optimizer.step()
        scheduler.step()
    shares = [rates[step] / settings.learning_rate for step in (0, 1, 2, 4, 6, 10)]
    assert shares == pytest.approx([0, 0.5, 1, *then], abs=1e-4)


def test_a_device_on_which_bitsandbytes_fails_is_named_before_any_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing step stands in for a missing native library."""
    from bitsandbytes.optim import AdamW8bit

    def missing(self: object) -> None:
        raise RuntimeError("no native library\nand how to build it")

    monkeypatch.setattr(AdamW8bit, "step", missing)
    weight = nn.Parameter(torch.ones(64, 64))
    with pytest.raises(InputError, match="optimizer=adamw_8bit: bitsandbytes fails on cpu: no native library; optim"):
        make_optimizer([weight], IN_8_BITS, "cpu")
    assert bool((weight == 1).all())

"""Fast adapters compute what peft computes, up to rounding, in fewer operations, and are gone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import adapted, lora
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.load_and_save import Translator
from stc.pipeline.stage import Context
from stc.training.acceleration.lora import FastLoraLinear, fast_adapters
from stc.training.adapters import adapter_parameters
from stc.training.examples import Examples
from stc.training.loop import accumulate
from stc.training.recipe import Recipe


class Counted(TorchDispatchMode):
    """Counts operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def step_of(
    base: Translator, recipe: Recipe, wrapped: Any, manifest: Path, ctx: Context
) -> Callable[[], tuple[Tensor, list[Tensor]]]:
    """Return a function that returns the loss and the gradient of every factor."""
    batch = Examples(base, Manifest.load(manifest), ctx).batch(range(8))

    def step() -> tuple[Tensor, list[Tensor]]:
        wrapped.zero_grad()
        torch.manual_seed(2)  # dropout
        loss = accumulate([batch], 0, lambda batch, step: translation_loss(base, batch), recipe, "cpu")
        return loss, [parameter.grad.clone() for parameter in adapter_parameters(wrapped)]

    return step


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_loss_and_gradients_are_those_of_peft(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, method: str, dropout: float
) -> None:
    base, recipe, wrapped = adapted(tiny_model, **{**lora(dropout), "method": method})
    step = step_of(base, recipe, wrapped, tiny_manifest, ctx)
    loss, gradients = step()
    with fast_adapters(wrapped):
        assert sum(isinstance(one, FastLoraLinear) for one in wrapped.modules()) == len(gradients) / 2
        ours, of_ours = step()
    torch.testing.assert_close(ours, loss)
    for gradient, expected in zip(of_ours, gradients, strict=True):
        assert bool(expected.any())
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16-mixed", "bfloat16"])
def test_half_precision_is_no_farther_from_float32_than_peft(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, precision: str
) -> None:
    _, exact = step_of(*adapted(tiny_model), tiny_manifest, ctx)()
    base, recipe, wrapped = adapted(tiny_model, precision=precision)
    step = step_of(base, recipe, wrapped, tiny_manifest, ctx)
    _, theirs = step()
    with fast_adapters(wrapped):
        _, ours = step()

    def distance(found: list[Tensor]) -> float:
        return float(sum((one.float() - other).square().sum() for one, other in zip(found, exact, strict=True))) ** 0.5

    assert {one.dtype for one in ours} == {one.dtype for one in theirs}
    assert distance(ours) <= 1.1 * distance(theirs)


def test_a_step_has_fewer_operations(tiny_model: Path, tiny_manifest: Path, ctx: Context) -> None:
    base, recipe, wrapped = adapted(tiny_model, precision="bfloat16-mixed")
    step = step_of(base, recipe, wrapped, tiny_manifest, ctx)
    step()
    with Counted() as theirs:
        step()
    with fast_adapters(wrapped), Counted() as ours:
        step()
    assert ours.count < theirs.count


def test_the_layers_of_peft_are_back_afterwards(tiny_model: Path) -> None:
    _, _, wrapped = adapted(tiny_model)
    before = dict(wrapped.named_modules())
    with pytest.raises(KeyboardInterrupt), fast_adapters(wrapped):
        raise KeyboardInterrupt
    assert dict(wrapped.named_modules()) == before


@pytest.mark.parametrize(("precision", "moved"), [("bfloat16-mixed", True), ("bfloat16", False)])
def test_small_steps_move_adapters_over_4_bits_only_where_they_are_in_float32(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, precision: str, moved: bool
) -> None:
    base, recipe, wrapped = adapted(tiny_model, method="qlora", precision=precision)
    parameters = adapter_parameters(wrapped)
    assert {parameter.dtype for parameter in parameters} == {torch.float32 if moved else torch.bfloat16}
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.0)
    step = step_of(base, recipe, wrapped, tiny_manifest, ctx)
    with fast_adapters(wrapped):
        for _ in range(3):
            step()
            optimizer.step()
    pairs = [(old, new) for old, new in zip(before, parameters, strict=True) if bool(old.any())]  # the random factors
    share = sum(int((old != new).sum()) for old, new in pairs) / sum(old.numel() for old, _ in pairs)
    assert share > 0.95 if moved else share < 0.5

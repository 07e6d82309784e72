"""A 4-bit base dequantized for training gives the same numbers, and is quantized again afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import adapted
from torch import Tensor, nn

from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.load_and_save import Translator
from stc.pipeline.stage import Context
from stc.training.acceleration import dequantize as module
from stc.training.acceleration.dequantize import DequantizedLinear, dequantized_base
from stc.training.adapters import adapter_parameters
from stc.training.examples import Examples
from stc.training.loop import accumulate
from stc.training.recipe import Recipe


def qlora(folder: Path, precision: str) -> tuple[Translator, Recipe, Any]:
    return adapted(folder, method="qlora", precision=precision)


def packed(model: nn.Module) -> dict[str, nn.Module]:
    from bitsandbytes.nn import Linear4bit

    return {name: one for name, one in model.named_modules() if isinstance(one, Linear4bit)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16-mixed", "bfloat16"])
def test_loss_has_the_bits_of_the_packed_base_and_gradients_are_its_own_but_for_rounding(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, precision: str
) -> None:
    base, recipe, wrapped = qlora(tiny_model, precision)
    batch = Examples(base, Manifest.load(tiny_manifest), ctx).batch(range(8))
    base.model.train()

    def step() -> tuple[Tensor, list[Tensor]]:
        wrapped.zero_grad()
        loss = accumulate([batch], 0, lambda batch, step: translation_loss(base, batch), recipe, "cpu")
        return loss, [parameter.grad.clone() for parameter in adapter_parameters(wrapped)]

    loss, gradients = step()
    with dequantized_base(base.model, True, "cpu"):
        assert not packed(base.model)
        loss_unpacked, gradients_unpacked = step()
    assert torch.equal(loss, loss_unpacked)
    # The matrices are the same. A processor's library may add the products of a backward pass in another order.
    rounding = 4 * torch.finfo(torch.float32 if precision == "float32" else torch.bfloat16).eps
    for ours, theirs in zip(gradients_unpacked, gradients, strict=True):
        assert float((ours - theirs).norm()) <= rounding * float(theirs.norm())
    assert all(bool(gradient.any()) for gradient in gradients)


def test_the_packed_base_is_back_afterwards(tiny_model: Path) -> None:
    base, _, _ = qlora(tiny_model, "float32")
    before = packed(base.model)
    with pytest.raises(KeyboardInterrupt), dequantized_base(base.model, True, "cpu"):
        raise KeyboardInterrupt
    assert before
    assert packed(base.model) == before


@pytest.mark.parametrize(("share", "is_unpacked"), [(1.01, True), (0.99, False)])
def test_auto_dequantizes_if_memory_suffices(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, share: float, is_unpacked: bool
) -> None:
    base, _, _ = qlora(tiny_model, "bfloat16")
    needed = sum(2 * int(one.weight.quant_state.shape.numel()) for one in packed(base.model).values())  # type: ignore[union-attr]
    monkeypatch.setattr(module, "free_memory", lambda device: round(share * needed / module.SHARE))
    with dequantized_base(base.model, "auto", "cpu"):
        assert any(isinstance(one, DequantizedLinear) for one in base.model.modules()) == is_unpacked
    with dequantized_base(base.model, False, "cpu"):
        assert not any(isinstance(one, DequantizedLinear) for one in base.model.modules())

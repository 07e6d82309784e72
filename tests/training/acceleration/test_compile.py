"""Compiled layers give the gradients of plain layers, and are used only where the settings ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recipes import adapted
from torch import Tensor, nn

from stc.data.manifest import Manifest
from stc.decoding.token_loss import cross_entropy, predict
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import BoolOrAuto, Context
from stc.training.acceleration.compile import MIN_STEPS, compiled_layers
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.acceleration.lora import fast_adapters
from stc.training.adapters import adapter_parameters
from stc.training.examples import Examples
from stc.training.fit_translator import select_trainable


def compiled(translator: Translator) -> bool:
    layers = translator.architecture.layers_of(translator.model, "decoder")
    found = {"forward" in layer.__dict__ for layer in layers}
    assert len(found) == 1
    return found.pop()


def compare_gradients(
    translator: Translator, parameters: Sequence[nn.Parameter], manifest: Path, ctx: Context, *, again: bool = False
) -> None:
    """Compare the gradients with and without compiling, for batches of several sizes, perhaps with gradient
    checkpointing (``again``)."""
    examples = Examples(translator, Manifest.load(manifest), ctx)
    translator.model.train()

    def step(indices: Sequence[int]) -> list[Tensor]:
        translator.model.zero_grad()
        predictions = predict(translator, examples.batch(indices), states=again)
        (cross_entropy(predictions) + sum(state.square().mean() for state in predictions.states)).backward()
        return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]

    some = [[0, 1, 2, 3, 4], [5], [6, 7]]
    expected = [step(indices) for indices in some]
    with gradient_checkpointing(translator.model, again), compiled_layers(translator, True, 1):
        found = [step(indices) for indices in some]
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(parameters)
        for one, other in zip(ours, theirs, strict=True):
            assert float((one - other).norm()) <= 1e-4 * float(other.norm())


@pytest.mark.gpu
def test_gradients_are_those_of_layers_that_are_not_compiled(
    tiny_model: Path, tiny_manifest: Path, ctx: Context
) -> None:
    translator = load(tiny_model, device="cuda", dtype="float32")
    parameters = select_trainable(translator, ["projector", "decoder"])
    compare_gradients(translator, parameters, tiny_manifest, replace(ctx, device="cuda"), again=True)


@pytest.mark.gpu
def test_gradients_of_an_encoder_are_those_of_layers_that_are_not_compiled(
    tiny_model: Path, tiny_manifest: Path, ctx: Context
) -> None:
    translator = load(tiny_model, device="cuda", dtype="float32")
    parameters = select_trainable(translator, ["encoder", "projector", "decoder"])
    compare_gradients(translator, parameters, tiny_manifest, replace(ctx, device="cuda"))


@pytest.mark.gpu
def test_gradients_of_adapters_are_those_of_layers_that_are_not_compiled(
    tiny_model: Path, tiny_manifest: Path, ctx: Context
) -> None:
    translator, _, wrapped = adapted(tiny_model, "cuda")
    with fast_adapters(wrapped):
        parameters = adapter_parameters(wrapped)
        compare_gradients(translator, parameters, tiny_manifest, replace(ctx, device="cuda"))


@pytest.mark.parametrize(
    ("wanted", "device", "steps", "is_compiled"),
    [
        (True, "cuda", 1, True),
        (True, "cpu", MIN_STEPS, False),
        (False, "cuda", MIN_STEPS, False),
        ("auto", "cpu", MIN_STEPS, False),
        ("auto", "cuda", MIN_STEPS - 1, False),
        ("auto", "cuda", MIN_STEPS, True),
    ],
)
def test_layers_are_compiled_on_a_gpu_and_with_auto_in_long_trainings(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, wanted: BoolOrAuto, device: str, steps: int, is_compiled: bool
) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    # Stands in for a GPU: nothing is computed here.
    monkeypatch.setattr(type(translator.model), "device", property(lambda model: torch.device(device)))
    with compiled_layers(translator, wanted, steps):
        assert compiled(translator) == is_compiled
    assert not compiled(translator)


def test_auto_does_not_compile_quantized_layers(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stc.quantization.nf4 import NF4

    translator = load(tiny_model, device="cpu", dtype="float32", quantize=NF4())
    monkeypatch.setattr(type(translator.model), "device", property(lambda model: torch.device("cuda")))
    with compiled_layers(translator, "auto", MIN_STEPS):
        assert not compiled(translator)

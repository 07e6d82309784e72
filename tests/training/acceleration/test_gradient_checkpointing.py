"""Gradient checkpointing gives the same loss and gradients in less memory, and is off again afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import RECIPE, lora
from safetensors.torch import load_file
from torch import Tensor, nn

from stc.data.manifest import Manifest
from stc.decoding.token_loss import predict, translation_loss
from stc.distillation.token_level import hidden_error
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.adapters import adapter_parameters, add_adapters, load_base
from stc.training.examples import Examples
from stc.training.fit_translator import select_trainable
from stc.training.loop import accumulate
from stc.training.recipe import Recipe

EVERY_PART = ["encoder", "projector", "decoder", "embedding", "head"]
RECIPES: dict[str, dict[str, Any]] = {
    "all parts": RECIPE | {"parts": EVERY_PART},
    "frozen encoder and embedding": RECIPE | {"parts": ["projector", "decoder"]},
    "mixed": RECIPE | {"parts": EVERY_PART, "precision": "bfloat16-mixed"},
    "bfloat16": RECIPE | {"parts": EVERY_PART, "precision": "bfloat16"},
    "lora": RECIPE | lora(dropout=0.0) | {"parts": ["encoder", "projector", "decoder"]},
    "lora, dropout": RECIPE | lora(dropout=0.3),
    "qlora": RECIPE | lora(dropout=0.0) | {"method": "qlora", "precision": "bfloat16-mixed"},
}


def trainable(folder: Path, recipe: Recipe) -> tuple[Translator, Sequence[nn.Parameter]]:
    """Return a model ready for a recipe, and its trained parameters. No factor of an adapter is zero."""
    if recipe.method == "full":
        weights = "bfloat16" if recipe.precision == "bfloat16" else "float32"
        translator = load(folder, device="cpu", dtype=weights)
        return translator, select_trainable(translator, recipe.parts)
    translator = load_base(folder, recipe, "cpu")
    parameters = adapter_parameters(add_adapters(translator, recipe))
    torch.manual_seed(1)
    for parameter in parameters:
        nn.init.normal_(parameter, std=0.1)
    return translator, parameters


@pytest.mark.parametrize("fields", RECIPES.values(), ids=RECIPES)
def test_loss_and_gradients_have_the_same_bits(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, fields: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate(fields)
    translator, parameters = trainable(tiny_model, recipe)
    batch = Examples(translator, Manifest.load(tiny_manifest), ctx, encode_once=False).batch(range(8))
    translator.model.train()

    def step(again: bool) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(2)
        translator.model.zero_grad()
        with gradient_checkpointing(translator.model, again):
            loss = accumulate(
                [batch],
                0,
                lambda batch, step: translation_loss(translator, batch),
                recipe,
                "cpu",
                gradient_checkpointing=again,
            )
        return loss, [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]

    loss, gradients = step(False)
    loss_again, gradients_again = step(True)
    assert torch.equal(loss, loss_again)
    assert len(gradients) == len(gradients_again) == len(parameters)
    assert all(map(torch.equal, gradients, gradients_again))
    assert any(bool(gradient.any()) for gradient in gradients)


def test_hidden_states_that_are_compared_have_the_same_gradients(
    tiny_model: Path, tiny_manifest: Path, ctx: Context
) -> None:
    translator, parameters = trainable(tiny_model, Recipe.model_validate(RECIPE))
    batch = Examples(translator, Manifest.load(tiny_manifest), ctx).batch(range(8))
    translator.model.train()
    found = []
    for again in (False, True):
        translator.model.zero_grad()
        with gradient_checkpointing(translator.model, again):
            states = predict(translator, batch, states=True).states
            hidden_error(states[1:], [torch.ones_like(one) for one in states[1:]], batch).backward()
        # What comes after the last state compared has none.
        found.append([None if one.grad is None else one.grad.clone() for one in parameters])
    assert len(states) == 6
    for without, with_it in zip(*found, strict=True):
        assert (without is None) == (with_it is None)
        assert without is None or torch.equal(without, with_it)
    assert sum(one is not None for one in found[0]) > len(parameters) / 2


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    translator, _ = trainable(tiny_model, Recipe.model_validate(RECIPES["all parts"]))
    return translator


def kept_bytes(translator: Translator, batch: Any, again: bool) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, without weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in translator.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        gradient_checkpointing(translator.model, again),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        loss = translation_loss(translator, batch)
    total = sum(kept.values())
    del loss
    return total


def test_states_inside_layers_are_not_kept(translator: Translator, tiny_manifest: Path, ctx: Context) -> None:
    batch = Examples(translator, Manifest.load(tiny_manifest), ctx, encode_once=False).batch(range(8))
    translator.model.train()
    assert kept_bytes(translator, batch, True) < 0.25 * kept_bytes(translator, batch, False)


@pytest.mark.parametrize(("training", "times"), [(True, 2), (False, 1)])
def test_layers_compute_twice_in_train_mode_only(
    translator: Translator, tiny_manifest: Path, ctx: Context, training: bool, times: int
) -> None:
    batch = Examples(translator, Manifest.load(tiny_manifest), ctx, encode_once=False).batch(range(2))
    calls = {"decoder": 0, "encoder": 0}
    stacks = {
        "decoder": translator.architecture.stack(translator.model, "decoder"),
        "encoder": translator.architecture.stack(translator.model, "encoder"),
    }
    for stack, module in stacks.items():

        def count(*_: object, stack: str = stack) -> None:
            calls[stack] += 1

        module.layers[1].register_forward_pre_hook(count)
    translator.model.train(training)
    with gradient_checkpointing(translator.model, True):
        translation_loss(translator, batch).backward()
    assert calls == {"decoder": times, "encoder": times}


def test_the_model_is_restored_even_after_an_error(translator: Translator) -> None:
    embedding, conv = translator.model.get_input_embeddings(), translator.model.model.audio_tower.conv1
    found = []

    def die() -> None:
        with gradient_checkpointing(translator.model, True):
            found.append((translator.model.is_gradient_checkpointing, embedding._forward_hooks, conv._forward_hooks))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert found == [(True, {}, {})]
    assert not translator.model.is_gradient_checkpointing
    with gradient_checkpointing(translator.model, False):
        assert not translator.model.is_gradient_checkpointing


@pytest.mark.parametrize("again", [False, True])
def test_autocast_keeps_copies_of_weights_only_without_gradient_checkpointing(again: bool) -> None:
    recipe = Recipe.model_validate(RECIPES["mixed"])
    caches: list[bool] = []

    def loss(batch: Any, step: int) -> Tensor:
        caches.append(torch.is_autocast_cache_enabled())
        return batch.weight.sum()

    class Batch:
        tokens = 1
        weight = nn.Parameter(torch.ones(1))

    accumulate([Batch()], 0, loss, recipe, "cpu", gradient_checkpointing=again)
    assert caches == [not again]


@pytest.mark.parametrize("fields", [{}, lora(dropout=0.3)], ids=["full", "lora"])
def test_a_stage_gives_the_same_model_with_and_without_gradient_checkpointing(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context, fields: dict[str, Any]
) -> None:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    inputs = {"model": Artifact(Kind.MODEL, tiny_model, "model"), "train": manifest}
    stage, found = Finetune(**RECIPE | {"epochs": 1} | fields), []
    for again in (False, True):
        out, scratch = tmp_path / f"out {again}", tmp_path / f"scratch {again}"
        out.mkdir()
        scratch.mkdir()
        facts = stage.run(inputs, out, replace(ctx, scratch=scratch, gradient_checkpointing=again))
        weights = {name: one for file in out.glob("*.safetensors") for name, one in load_file(file).items()}
        found.append((facts, weights))
    (facts, weights), (facts_again, weights_again) = found
    assert facts == facts_again
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)

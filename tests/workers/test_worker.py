"""Processes that train together end with the weights of one process alone. Here they are forked, which is quick; in
``test_sharing.py`` torchrun starts them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import together
from recipes import RECIPE, Steps, lora
from safetensors.torch import load_file, save_file
from torch import nn

from stc.data.manifest import Manifest
from stc.errors import StcError
from stc.models.load_and_save import load
from stc.pipeline.stage import Context, Progress
from stc.training import checkpoints
from stc.training.adapters import adapter_parameters, add_adapters
from stc.training.fit_translator import fit, select_trainable
from stc.training.recipe import Recipe
from stc.workers.worker import current_group

LORA = lora(dropout=0.3)


def train(model: Path, data: Path, ctx: Context, recipe: Recipe, out: Path, crash: int | None = None) -> None:
    """Train, and write down the losses and weights of this process."""

    @contextmanager
    def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
        yield Steps(crash if unit == "step" else None, StcError("crash"))

    translator = load(model, device="cpu", dtype="float32")
    full = recipe.method == "full"
    parameters = (
        select_trainable(translator, recipe.parts) if full else adapter_parameters(add_adapters(translator, recipe))
    )
    before = {f"before.{number}": one.detach().clone() for number, one in enumerate(parameters)}
    manifest = Manifest.load(data)
    dev = manifest if recipe.patience else None
    try:
        fitted = fit(translator, parameters, manifest, recipe, replace(ctx, progress=progress), dev=dev)
    except StcError:
        return
    out.mkdir(exist_ok=True)
    after = {f"after.{number}": one.detach().contiguous() for number, one in enumerate(parameters)}
    save_file({**before, **after}, out / f"{current_group().rank}.safetensors")
    (out / f"{current_group().rank}.json").write_text(json.dumps([fitted.loss, fitted.dev_losses]))


def found(out: Path, rank: int) -> tuple[Any, dict[str, torch.Tensor]]:
    return json.loads((out / f"{rank}.json").read_text()), load_file(out / f"{rank}.safetensors")


def test_three_processes_train_the_weights_of_one_and_all_of_them_the_same(
    planted_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    recipe = Recipe(**RECIPE | {"patience": 2, "batch_size": 7})  # of 8 utterances: the last batch has one
    run = partial(train, planted_model, tiny_manifest, ctx, recipe)
    run(tmp_path / "alone")
    together(3, partial(run, tmp_path / "shared"))
    (loss, dev), alone = found(tmp_path / "alone", 0)
    (same_loss, same_dev), shared = found(tmp_path / "shared", 0)
    assert (same_loss, same_dev) == (pytest.approx(loss, rel=1e-5), pytest.approx(dev, rel=1e-5))
    for number in range(len(alone) // 2):
        after, before = alone[f"after.{number}"], alone[f"before.{number}"]
        moved = (after - before).norm()
        assert moved > 0
        assert (shared[f"after.{number}"] - after).norm() < 1e-3 * moved
    for rank in (1, 2):
        values, weights = found(tmp_path / "shared", rank)
        assert values == [same_loss, same_dev]
        assert all(torch.equal(weights[name], one) for name, one in shared.items())


def test_a_resumed_training_restores_the_random_numbers_of_each_process(
    tiny_model: Path,
    tiny_manifest: Path,
    tmp_path: Path,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)  # one before every step
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    run = partial(train, tiny_model, tiny_manifest, recipe=Recipe(**RECIPE | LORA))
    quiet = replace(ctx, scratch=tmp_path / "quiet")
    together(2, partial(run, quiet, out=tmp_path / "undisturbed"))
    together(2, partial(run, ctx, out=tmp_path / "died", crash=2))
    kept = sorted((ctx.scratch / "checkpoints").iterdir())
    assert [folder.name for folder in kept] == ["00000001", "00000002"]
    shutil.copytree(ctx.scratch, tmp_path / "copied")
    together(2, partial(run, ctx, out=tmp_path / "resumed"))
    for rank in (0, 1):
        values, weights = found(tmp_path / "undisturbed", rank)
        same_values, same = found(tmp_path / "resumed", rank)
        assert same_values == values
        assert all(torch.equal(same[name], one) for name, one in weights.items())
    run(replace(ctx, scratch=tmp_path / "copied"), out=tmp_path / "by one")  # which has its own, and none of the others
    assert caplog.messages == ["training goes on from the checkpoint of step 2 of 4"]


def test_out_of_memory_in_one_process_is_raised_in_all(tmp_path: Path) -> None:
    """The shortage is simulated by the error that PyTorch raises."""
    weight = nn.Parameter(torch.ones(2))

    def own() -> tuple[torch.Tensor, int]:
        if current_group().rank == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return torch.ones(()), 1

    def run() -> None:
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            current_group().mean_loss([weight], own)
        note = current_group().gather(current_group().rank)  # they are at the same point, and can go on
        (tmp_path / f"{current_group().rank}").write_text(str(note))

    together(2, run)
    assert [(tmp_path / name).read_text() for name in "01"] == ["[0, 1]"] * 2


def test_a_parameter_that_no_process_uses_gets_no_gradient_and_one_that_some_do_gets_it_everywhere() -> None:
    def run() -> None:
        used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))

        def own() -> tuple[torch.Tensor, int]:
            if current_group().rank == 1:
                return torch.zeros(()), 0
            (3 * used.sum()).backward()
            return torch.tensor(2.0), 4

        assert current_group().mean_loss([used, unused], own) == 2.0
        assert used.grad is not None
        assert used.grad.tolist() == [3.0] * 3
        assert unused.grad is None

    together(2, run)

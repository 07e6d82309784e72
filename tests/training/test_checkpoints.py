"""A checkpoint is complete or not used, is not written too often, and never ends a training."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_loop import SETTINGS as LOOP
from torch import nn

from stc.errors import StcError
from stc.pipeline.stage import Context
from stc.store.records import serialize_record
from stc.training import checkpoints
from stc.training.checkpoint_state import RecentLosses, TrainedWeights
from stc.training.checkpoints import Checkpoints
from stc.training.loop import train

SETTINGS = LOOP.model_copy(update={"batch_size": 2})
STEPS = 25


class Crash(Exception):
    """Stands in for the death of the process."""


@dataclass(frozen=True)
class Points:
    x: torch.Tensor
    tokens: int = 4


class Regression:
    """A small training with dropout; ``fail`` is called with the step when a loss is computed."""

    def __init__(self, fail: Callable[[int], None] = lambda step: None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))
        self.examples = torch.randn(8, 2, 3)
        self.curve: dict[int, dict[str, float]] = {}
        self.fail = fail

    def loss(self, batch: Points, step: int) -> torch.Tensor:
        self.fail(step)
        return (self.model(batch.x) - batch.x.sum(dim=-1, keepdim=True)).square().sum()

    def train(self, ctx: Context, result_bytes: int = 0, **changes: Any) -> Regression:
        def log(metrics: dict[str, float], step: int) -> None:
            self.curve[step] = {key: value for key, value in metrics.items() if key != "steps_per_second"}

        plan = ([step % 8, (3 * step + 1) % 8] for step in range(1000))
        settings = SETTINGS.model_copy(update=changes)
        context = replace(ctx, log=log)
        parameters = self.model.parameters()
        train(parameters, plan, STEPS, self.collate, self.loss, settings, context, "test", result_bytes=result_bytes)
        return self

    def collate(self, indices: Sequence[int]) -> Points:
        return Points(self.examples[list(indices)])

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach() for parameter in self.model.parameters()]


def at(step: int, error: BaseException) -> Callable[[int], None]:
    def fail(now: int) -> None:
        if now == step:
            raise error

    return fail


def wide(dtype: torch.dtype, fail: Callable[[int], None] = lambda step: None, device: str = "cpu") -> Regression:
    """Make a training with a weight that is large enough for 8 bits."""
    made = Regression(fail)
    made.model = nn.Sequential(nn.Linear(3, 2048), nn.Dropout(0.5), nn.Linear(2048, 1)).to(device, dtype)
    made.examples = made.examples.to(device, dtype)
    return made


def crash(step: int, ctx: Context) -> None:
    with pytest.raises(Crash):
        Regression(at(step, Crash())).train(ctx)


def kept(ctx: Context) -> list[Path]:
    return sorted((ctx.scratch / "checkpoints").glob("0*"))


def same(resumed: Regression, whole: Regression, since: int = 0) -> bool:
    """Return whether a training resumed at step ``since`` logged and ended like an undisturbed one."""
    pairs = zip(resumed.weights(), whole.weights(), strict=True)
    later = {step: metrics for step, metrics in whole.curve.items() if step > since}
    return resumed.curve == later and all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint before every step."""
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)


@pytest.fixture(scope="module")
def undisturbed(module_ctx: Context) -> Regression:
    return Regression().train(module_ctx)


@pytest.mark.usefixtures("always")
def test_a_training_that_died_goes_on_and_ends_with_the_same_weights_and_curve(
    ctx: Context, undisturbed: Regression
) -> None:
    crash(7, ctx)
    crash(17, ctx)
    resumed = Regression().train(ctx)
    assert same(resumed, undisturbed, 17)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_training_with_moments_in_8_bits_continues_bit_for_bit(
    device: str, dtype: torch.dtype, tmp_path: Path, ctx: Context
) -> None:
    """With weights on both sides of the size from which moments have 8 bits."""

    def made(fail: Callable[[int], None] = lambda step: None) -> Regression:
        return wide(dtype, fail, device)

    here = replace(ctx, device=device)
    (tmp_path / "undisturbed").mkdir()
    whole = made().train(replace(here, scratch=tmp_path / "undisturbed"), optimizer="adamw_8bit")
    for step in (1, 7, 17):
        with pytest.raises(Crash):
            made(at(step, Crash())).train(here, optimizer="adamw_8bit")
    (last,) = kept(ctx)[-1].glob("*.safetensors")
    assert {torch.uint8, torch.float32} <= {one.dtype for one in load_file(last).values()}
    assert same(made().train(here, optimizer="adamw_8bit"), whole, 17)


@pytest.mark.usefixtures("always")
def test_moments_in_8_bits_are_not_loaded_by_the_other_optimizer(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Crash):
        wide(torch.float32, at(17, Crash())).train(ctx, optimizer="adamw_8bit")
    wide(torch.float32).train(ctx)
    assert "the checkpoint of step 17 is of another training (settings.optimizer)" in caplog.text


@pytest.mark.usefixtures("always")
def test_a_training_continues_where_it_was_and_logs_it(ctx: Context, caplog: pytest.LogCaptureFixture) -> None:
    crash(17, ctx)
    steps: list[int] = []
    caplog.clear()
    Regression(steps.append).train(ctx)
    assert steps == list(range(17, STEPS))
    assert caplog.messages == ["training goes on from the checkpoint of step 17 of 25"]


@pytest.mark.usefixtures("always")
def test_the_last_two_checkpoints_are_kept_as_json_and_safetensors(ctx: Context) -> None:
    crash(17, ctx)
    assert [folder.name for folder in kept(ctx)] == ["00000016", "00000017"]
    for folder in kept(ctx):
        assert sorted(file.name for file in folder.iterdir()) == ["00000.safetensors", "checkpoint.json"]
        json.loads((folder / "checkpoint.json").read_text())
        load_file(folder / "00000.safetensors")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("damage", [flip, shorten, Path.unlink], ids=["flipped", "torn", "missing"])
@pytest.mark.parametrize("name", ["00000.safetensors", "checkpoint.json"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(
    name: str, damage: Callable[[Path], None], ctx: Context, undisturbed: Regression, caplog: pytest.LogCaptureFixture
) -> None:
    crash(17, ctx)
    damage(kept(ctx)[-1] / name)
    steps: list[int] = []
    resumed = Regression(steps.append).train(ctx)
    assert steps[0] == 16
    assert same(resumed, undisturbed, 16)
    (warning,) = (message for message in caplog.messages if "the checkpoint of step 17 is damaged" in message)
    assert name in warning
    (aside,) = ctx.scratch.glob("checkpoints/unusable.*")
    assert str(aside) in caplog.text


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "index", [{"of": {}}, {"of": {}, "files": [], "values": {}}, {"of": 1, "files": {}, "values": {}}]
)
def test_a_checkpoint_whose_index_has_another_shape_is_not_used(index: dict[str, Any], ctx: Context) -> None:
    crash(17, ctx)
    (kept(ctx)[-1] / "checkpoint.json").write_text(serialize_record(index))
    steps: list[int] = []
    Regression(steps.append).train(ctx)
    assert steps[0] == 16


@pytest.mark.usefixtures("always")
def test_a_training_without_a_usable_checkpoint_begins_anew(ctx: Context, undisturbed: Regression) -> None:
    crash(17, ctx)
    for folder in kept(ctx):
        shorten(folder / "00000.safetensors")
    assert same(Regression().train(ctx), undisturbed)


@pytest.mark.usefixtures("always")
def test_an_incomplete_checkpoint_is_not_used(ctx: Context, undisturbed: Regression) -> None:
    crash(17, ctx)
    torn = kept(ctx)[-1]
    torn.rename(torn.with_name(".writing.1"))
    steps: list[int] = []
    Regression(steps.append).train(ctx)
    assert steps[0] == 16
    assert not list(ctx.scratch.glob("checkpoints/.writing.*"))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("change", "said"), [({"learning_rate": 0.01}, "settings.learning_rate"), ({}, "weights")])
def test_a_checkpoint_of_another_training_is_not_used(
    change: dict[str, float], said: str, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    crash(17, ctx)
    steps: list[int] = []
    other = Regression(steps.append)
    if not change:
        other.model = nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.5), nn.Linear(6, 1))
    other.train(ctx, **change)
    assert steps[0] == 0
    assert f"the checkpoint of step 17 is of another training ({said})" in caplog.text


@pytest.mark.usefixtures("always")
def test_a_training_continues_with_another_micro_batch(ctx: Context) -> None:
    crash(17, ctx)
    steps: list[int] = []
    Regression(steps.append).train(replace(ctx, train_micro_batch=1))
    assert steps == sorted([*range(17, STEPS)] * 2)


@pytest.mark.usefixtures("always")
def test_a_full_disk_is_warned_of_once_and_ends_neither_the_training_nor_the_last_checkpoint(
    ctx: Context, undisturbed: Regression, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = 0

    def fill(tensors: dict[str, torch.Tensor], file: Path) -> None:
        nonlocal written
        written += 1
        if written > 9:
            file.write_bytes(b"half of")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        save_file(tensors, file)

    save_file = checkpoints.save_file
    monkeypatch.setattr(checkpoints, "save_file", fill)
    assert same(Regression().train(ctx), undisturbed)
    (message,) = caplog.messages
    assert message.startswith("training goes on without a checkpoint of step 10, and that of step 9 is kept: ")
    assert [file.name for file in (ctx.scratch / "checkpoints").iterdir()] == ["00000009"]
    steps: list[int] = []
    Regression(steps.append).train(ctx)
    assert steps[0] == 9


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("free", "result"), [(100, 0), (10**6, 10**6)], ids=["full", "full with the result"])
def test_a_checkpoint_that_would_fill_the_disk_is_not_begun(
    free: int,
    result: int,
    ctx: Context,
    undisturbed: Regression,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert same(Regression().train(ctx, result_bytes=result), undisturbed)
    (message,) = caplog.messages
    assert "there is none before it" in message
    assert "No space left on device" in message
    assert not list((ctx.scratch / "checkpoints").iterdir())


@pytest.mark.usefixtures("always")
def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint_and_names_it(ctx: Context) -> None:
    sick = Regression()
    healthy = sick.loss
    sick.loss = lambda batch, step: healthy(batch, step) * (float("nan") if step >= 6 else 1.0)  # type: ignore[method-assign]
    with pytest.raises(StcError, match="the loss of step 7 is nan; the checkpoint of step 6 is kept in") as error:
        sick.train(ctx)
    last = kept(ctx)[-1]
    assert last.name == "00000006"
    assert str(last) in str(error.value)
    assert "learning_rate" in str(error.value)
    assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in load_file(last / "00000.safetensors").values())
    steps: list[int] = []
    Regression(steps.append).train(ctx)
    assert steps[0] == 6


@pytest.mark.usefixtures("always")
def test_a_gradient_that_is_not_finite_stops_a_training_in_8_bits(ctx: Context) -> None:
    """On a GPU bitsandbytes skips such gradients, and no loss would show it."""
    sick = Regression()
    sick.model[0].weight.register_hook(lambda grad: grad * float("nan") if kept(ctx) else grad)
    with pytest.raises(StcError, match="the gradient of step 2 is not finite; the checkpoint of step 1 is kept in"):
        sick.train(ctx, optimizer="adamw_8bit")


@pytest.mark.usefixtures("always")
def test_weights_that_are_not_finite_are_in_no_checkpoint(ctx: Context) -> None:
    """The gradient is not finite although the loss is."""
    sick = Regression()
    sick.model[0].weight.register_hook(lambda grad: grad * float("nan") if kept(ctx) else grad)
    with pytest.raises(StcError, match="the loss of step 3 is nan; the checkpoint of step 1 is kept in"):
        sick.train(ctx)
    assert [folder.name for folder in kept(ctx)] == ["00000001"]


@pytest.mark.parametrize("step", [3, 17])
def test_a_stop_while_a_gradient_is_computed_saves_the_steps_before(
    step: int, ctx: Context, undisturbed: Regression
) -> None:
    with pytest.raises(KeyboardInterrupt):
        Regression(at(step, KeyboardInterrupt())).train(ctx)
    assert [int(folder.name) for folder in kept(ctx)] == [step]
    resumed = Regression().train(ctx)
    assert same(resumed, undisturbed, step)


def test_a_stop_while_weights_change_saves_nothing(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, undisturbed: Regression
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(torch.optim.AdamW, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Regression().train(ctx)
    assert not kept(ctx)
    assert same(Regression().train(ctx), undisturbed)


@pytest.mark.usefixtures("always")
def test_a_process_that_dies_while_writing_leaves_the_checkpoint_before(
    ctx: Context, undisturbed: Regression, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path) -> dict[str, Any]:
        if "safetensors" in folder.name and len(kept(ctx)) == 1:
            raise Crash
        return settle(folder)

    settle = checkpoints.make_durable
    with monkeypatch.context() as broken:
        broken.setattr(checkpoints, "make_durable", die)
        with pytest.raises(Crash):
            Regression().train(ctx)
    assert [folder.name for folder in kept(ctx)] == ["00000001"]
    resumed = Regression().train(ctx)
    assert same(resumed, undisturbed, 1)


def test_a_checkpoint_in_many_files_equals_one_in_one_file(
    ctx: Context, undisturbed: Regression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "FILE_BYTES", 60)
    with pytest.raises(KeyboardInterrupt):
        Regression(at(17, KeyboardInterrupt())).train(ctx)
    assert len(list(kept(ctx)[0].glob("*.safetensors"))) > 3
    resumed = Regression().train(ctx)
    assert same(resumed, undisturbed, 17)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return 0


def test_writing_takes_two_hundredths_of_the_time(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes 4 s, and a step takes 1 s."""
    clock = Clock()

    def slow(file: Path) -> dict[str, Any]:
        clock.now += 4.0
        return settle(file)

    settle = checkpoints.make_durable
    monkeypatch.setattr(checkpoints, "time", clock)
    monkeypatch.setattr(checkpoints, "make_durable", slow)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight])
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    one = Checkpoints(
        ctx.scratch / "checkpoints",
        TrainedWeights([weight], optimizer, schedule),
        {"losses": RecentLosses("cpu")},
        1000,
        {},
    )
    written: list[int] = []
    for step in range(1000):
        one.before_step(step)
        written += [step for folder in kept(ctx) if int(folder.name) == step]
        clock.now += 1.0
    assert written == [5, 205, 405, 605, 805]

"""Replayed layers give the gradients of called layers, whatever happens between two replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recipes import RECIPE, adapted, lora
from torch import Tensor

from stc.data.collate import Batch
from stc.data.manifest import Manifest
from stc.decoding.token_loss import predict, translation_loss
from stc.models.load_and_save import load
from stc.pipeline.stage import Context
from stc.system.memory import BatchSize
from stc.training.acceleration import cuda_graphs as module
from stc.training.acceleration.compile import compiled_layers
from stc.training.acceleration.cuda_graphs import MULTIPLE, cuda_graph_layers
from stc.training.acceleration.lora import fast_adapters
from stc.training.adapters import adapter_parameters
from stc.training.examples import Examples
from stc.training.fit_translator import fit, select_trainable
from stc.training.loop import accumulate
from stc.training.recipe import Recipe

# Micro-batches of steps, in which shapes are new, then recorded, then replayed: with a mask, without one (of a single
# utterance), twice in a step, and recorded while a pass of layers that were called is still remembered.
STEPS = [
    [[0, 1, 2], [3]],
    [[0, 1, 2], [3]],
    [[4, 5], [0, 1, 2], [0, 1, 2]],
    [[3, 4, 5, 6], [4, 5]],
    [[3], [4, 5], [6]],
]
IN_BFLOAT16 = 5e-2  # padding changes what is rounded; a weight of the step before would differ by a tenth


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Without a GPU, compute again what a CUDA graph would replay."""
    if request.param == "cpu":
        monkeypatch.setattr(module, "record_graphs", computed_again)
    return str(request.param)


def computed_again(
    forward: Callable[[], None], backward: Callable[[], None], memory: object
) -> list[Callable[[], None]]:
    forward()
    backward()
    return [forward, backward]


class Training:
    """Steps through adapters of every part. After each step the weights change, in the same way in every training."""

    def __init__(self, folder: Path, manifest: Path, ctx: Context, device: str, **fields: Any) -> None:
        self.base, self.recipe, self.wrapped = adapted(folder, device, **fields)
        self.weights = adapter_parameters(self.wrapped)
        self.examples = Examples(self.base, Manifest.load(manifest), replace(ctx, device=device))
        self.device = device

    def batch(self, indices: Sequence[int]) -> Batch:
        return self.examples.batch(indices)

    def step(self, micro: Sequence[Sequence[int]]) -> tuple[Tensor, list[Tensor]]:
        batches = [self.batch(indices) for indices in micro]
        loss = accumulate(batches, 0, lambda one, step: translation_loss(self.base, one), self.recipe, self.device)
        gradients = [weight.grad.clone() for weight in self.weights if weight.grad is not None]
        with torch.no_grad():
            for weight in self.weights:
                weight *= 0.9
                weight.grad = None
        return loss, gradients

    @contextmanager
    def replaying(self) -> Iterator[None]:
        family, model = self.base.architecture, self.base.model
        with (
            fast_adapters(self.wrapped),
            cuda_graph_layers(list(family.layers_of(model, "decoder")), causal=True),
            cuda_graph_layers(list(family.layers_of(model, "encoder")), causal=False),
        ):
            yield


def compare(
    found: Sequence[tuple[Tensor, list[Tensor]]], expected: Sequence[tuple[Tensor, list[Tensor]]], apart: float = 1e-4
) -> None:
    """Compare losses and gradients of steps, with a tolerance relative to their size."""
    for (loss, gradients), (other, others) in zip(found, expected, strict=True):
        torch.testing.assert_close(loss, other, rtol=apart, atol=0)
        assert len(gradients) == len(others)
        for one, another in zip(gradients, others, strict=True):
            assert float((one - another).norm()) <= apart * float(another.norm())


@pytest.fixture(scope="module")
def called(
    tiny_model: Path, tiny_manifest: Path, module_ctx: Context
) -> Callable[[str], list[tuple[Tensor, list[Tensor]]]]:
    """``called(device)`` returns the losses and gradients of the steps without replays."""

    @cache
    def steps(device: str) -> list[tuple[Tensor, list[Tensor]]]:
        training = Training(tiny_model, tiny_manifest, module_ctx, device)
        with fast_adapters(training.wrapped):
            return [training.step(micro) for micro in STEPS]

    return steps


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The utterances and positions of each recording's input."""
    made: list[tuple[int, ...]] = []
    make = module.GraphRecording.__init__

    def noted(self: Any, stack: Any, run: Any, tensors: Sequence[Tensor]) -> None:
        made.append(tuple(tensors[0].shape[:2]))
        make(self, stack, run, tensors)

    monkeypatch.setattr(module.GraphRecording, "__init__", noted)
    return made


def test_gradients_are_those_of_layers_that_are_called(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str, called: Any, recordings: list[tuple[int, ...]]
) -> None:
    replaying = Training(tiny_model, tiny_manifest, ctx, device)
    with replaying.replaying():
        found = [replaying.step(micro) for micro in STEPS]
    assert sorted({utterances for utterances, _ in recordings}) == [1, 2, 3]
    compare(found, called(device))


def test_lengths_are_padded_so_that_batches_share_a_recording(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str, recordings: list[tuple[int, ...]]
) -> None:
    training = Training(tiny_model, tiny_manifest, ctx, device)
    lengths = set()
    with training.replaying():
        for pair in ([0, 1], [2, 3], [4, 5], [6, 7]):
            lengths.add(training.batch(pair).inputs["input_ids"].shape[1])
            training.step([pair])
    assert len(lengths) > 1
    assert recordings
    assert all(positions % MULTIPLE == 0 for _, positions in recordings)


def test_a_pass_without_gradient_between_two_replays_changes_nothing(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str
) -> None:
    training = Training(tiny_model, tiny_manifest, ctx, device)
    model = training.base.model

    @torch.no_grad()
    def looked_at() -> Tensor:
        model.eval()
        states = predict(training.base, training.batch([4, 5]), states=True).states
        model.train()
        return torch.stack(states)

    with fast_adapters(training.wrapped):
        expected = looked_at()
    before = [weight.detach().clone() for weight in training.weights]
    with training.replaying():
        for _ in range(3):
            training.step([[0, 1, 2]])
            with torch.no_grad():
                torch._foreach_copy_(training.weights, before)
            assert torch.equal(looked_at(), expected)


def test_activations_of_an_earlier_batch_are_not_taken_for_those_of_a_later_one(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str
) -> None:
    training = Training(tiny_model, tiny_manifest, ctx, device)
    with training.replaying():
        for _ in range(2):
            training.step([[0, 1, 2]])
        first, _ = (translation_loss(training.base, training.batch([0, 1, 2])) for _ in range(2))
        with pytest.raises(RuntimeError, match="another batch"):
            first.backward()


def test_without_memory_for_a_recording_the_training_continues(
    tiny_model: Path,
    tiny_manifest: Path,
    ctx: Context,
    device: str,
    called: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "record_graphs", full)
    replaying = Training(tiny_model, tiny_manifest, ctx, device)
    with replaying.replaying():
        compare([replaying.step(micro) for micro in STEPS], called(device))
    assert "no memory to record" in caplog.text


@pytest.mark.gpu
def test_memory_may_run_out_within_a_recording(
    tiny_model: Path,
    tiny_manifest: Path,
    ctx: Context,
    called: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = module.record_graphs

    def short_of_memory(
        forward: Callable[[], None], backward: Callable[[], None], memory: Any
    ) -> list[Callable[[], None]]:
        def more_than_there_is() -> None:
            if torch.cuda.is_current_stream_capturing():
                torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
            backward()

        return record(forward, more_than_there_is, memory)

    monkeypatch.setattr(module, "record_graphs", short_of_memory)
    replaying = Training(tiny_model, tiny_manifest, ctx, "cuda")
    with replaying.replaying():
        compare([replaying.step(micro) for micro in STEPS], called("cuda"))
    assert "no memory to record" in caplog.text


def test_recordings_make_room_before_a_batch_is_made_smaller(
    tiny_model: Path,
    tiny_manifest: Path,
    ctx: Context,
    device: str,
    called: Any,
    recordings: list[tuple[int, ...]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    replaying = Training(tiny_model, tiny_manifest, ctx, device)
    shortages = [torch.OutOfMemoryError("CUDA out of memory")]  # stands in for one
    size = BatchSize(4, "resources.train_micro_batch")

    def step(micro: Sequence[Sequence[int]]) -> tuple[Tensor, list[Tensor]]:
        def run(size: int) -> tuple[Tensor, list[Tensor]]:
            if len(recordings) > 2 and shortages:
                raise shortages.pop()
            return replaying.step(micro)

        return size.attempt(run)

    with replaying.replaying():
        compare([step(micro) for micro in STEPS], called(device))
        made = len(recordings)
        replaying.step(STEPS[0])
    assert (size.size, len(recordings), shortages) == (4, made, [])
    assert "no memory for a batch beside" in caplog.text


def test_masks_of_eager_attention_are_seen_too(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str, called: Any
) -> None:
    replaying = Training(tiny_model, tiny_manifest, ctx, device)
    replaying.base.model.set_attn_implementation("eager")
    with replaying.replaying():
        compare([replaying.step(micro) for micro in STEPS], called(device))


def test_layers_through_which_no_gradient_goes_are_called(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str, recordings: list[tuple[int, ...]]
) -> None:
    translator = load(tiny_model, device=device, dtype="float32")
    parameters = select_trainable(translator, ["head"])
    examples = Examples(translator, Manifest.load(tiny_manifest), replace(ctx, device=device))
    translator.model.train()

    def step() -> list[Tensor]:
        translator.model.zero_grad()
        translation_loss(translator, examples.batch([0, 1])).backward()
        return [weight.grad.clone() for weight in parameters if weight.grad is not None]

    expected = step()
    with cuda_graph_layers(list(translator.architecture.layers_of(translator.model, "decoder")), causal=True):
        found = [step() for _ in range(3)]
    torch.testing.assert_close(found, [expected] * 3)
    assert not recordings


@pytest.mark.gpu
def test_a_copy_that_autocast_keeps_of_a_weight_is_not_replayed(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, recordings: list[tuple[int, ...]]
) -> None:
    """With ``peft``'s own layers autocast casts the factors; our layers cast them themselves."""
    called, replaying = (Training(tiny_model, tiny_manifest, ctx, "cuda", precision="bfloat16-mixed") for _ in range(2))
    expected = [called.step(micro) for micro in STEPS]
    with cuda_graph_layers(list(replaying.base.architecture.layers_of(replaying.base.model, "decoder")), causal=True):
        compare([replaying.step(micro) for micro in STEPS], expected, IN_BFLOAT16)
    assert recordings


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "apart"), [("float32", 1e-4), ("bfloat16-mixed", IN_BFLOAT16)])
def test_compiled_layers_give_the_same_when_replayed(
    tiny_model: Path,
    tiny_manifest: Path,
    ctx: Context,
    recordings: list[tuple[int, ...]],
    precision: str,
    apart: float,
) -> None:
    def gradients(replay: bool) -> list[tuple[Tensor, list[Tensor]]]:
        # An encoder takes a minute to compile.
        training = Training(tiny_model, tiny_manifest, ctx, "cuda", precision=precision, parts=["decoder"])
        with fast_adapters(training.wrapped), compiled_layers(training.base, True, 1, replay=replay):
            return [training.step(micro) for micro in STEPS]

    expected = gradients(replay=False)
    assert not recordings
    compare(gradients(replay=True), expected, apart)
    assert recordings


class Asked(Exception):
    """Ends a training once it is known how it would compute."""


@pytest.mark.parametrize(
    ("method", "states", "again", "replays"),
    [
        ("lora", False, False, True),
        ("qlora", False, False, True),
        ("full", False, False, False),
        ("lora", True, False, False),
        ("lora", False, True, False),
    ],
)
def test_a_training_that_needs_states_between_layers_does_not_replay_them(
    tiny_model: Path,
    tiny_manifest: Path,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    states: bool,
    again: bool,
    replays: bool,
) -> None:
    asked = []

    def noted(translator: object, wanted: object, steps: int, *, replay: bool) -> None:
        asked.append(replay)
        raise Asked

    monkeypatch.setattr("stc.training.fit_translator.compiled_layers", noted)
    translator = load(tiny_model, device="cpu", dtype="float32")
    kind = {"method": "full"} if method == "full" else {**lora(0.0), "method": method}
    recipe = Recipe.model_validate({**RECIPE, **kind})
    parameters = select_trainable(translator, ["decoder"])
    teacher: Any = SimpleNamespace(shares_encoder=True, needs_hidden_states=states)
    manifest, ctx = Manifest.load(tiny_manifest), replace(ctx, gradient_checkpointing=again)
    with pytest.raises(Asked):
        fit(translator, parameters, manifest, recipe, ctx, teacher=teacher)
    assert asked == [replays]


def test_dropout_is_drawn_anew_in_every_replay(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, device: str
) -> None:
    training = Training(tiny_model, tiny_manifest, ctx, device, **lora(0.5))
    with training.replaying():
        for _ in range(2):
            training.step([[0, 1, 2]])
        losses = [float(translation_loss(training.base, training.batch([0, 1, 2])).detach()) for _ in range(3)]
    assert len(set(losses)) == 3

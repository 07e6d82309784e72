"""Where memory runs out, a smaller batch goes on from there.

Memory does not really run out here: what runs is made to raise what PyTorch raises when it does.
"""

import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stc.data.manifest import Manifest
from stc.decoding import cpu_engine as ragged
from stc.decoding import greedy
from stc.errors import StcError
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.pruning.search import translations as search
from stc.pruning.search.losses import losses_without_each
from stc.pruning.search.translations import LayersByStack
from stc.system.memory import BatchSize
from stc.training.teacher_forcing import TeacherForcing, similarities

CPU = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
ERRORS = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"), RuntimeError(CPU)]


def holds(most: int, error: RuntimeError) -> tuple[Callable[[Sequence[int]], None], list[list[int]]]:
    """What runs a batch of at most ``most``, and the batches it has run."""
    ran: list[list[int]] = []

    def run(batch: Sequence[int]) -> None:
        if len(batch) > most:
            raise error
        ran.append(list(batch))

    return run, ran


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu"])
def test_batch_is_halved_until_it_fits_and_every_item_is_run_once_in_order(error: RuntimeError) -> None:
    run, ran = holds(3, error)
    size = BatchSize(10, "resources.decode_batch")
    size.over(range(10), run)
    assert ran == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert size.size == 3


def test_it_is_said_once_with_the_setting_that_went_too_far(caplog: pytest.LogCaptureFixture) -> None:
    run, _ = holds(1, ERRORS[0])
    BatchSize(8, "resources.decode_batch").over(range(8), run)
    (message,) = caplog.messages
    assert "CUDA out of memory. Tried to allocate 2.00 GiB.)" in message
    assert "resources.decode_batch=4" in message


def test_one_example_that_does_not_fit_is_an_error() -> None:
    run, _ = holds(0, ERRORS[0])
    with pytest.raises(StcError, match="out of memory with one example at a time"):
        BatchSize(2, "resources.decode_batch").over(range(4), run)


def test_half_of_what_was_tried_is_tried_next() -> None:
    tried: list[int] = []

    def run(batch: Sequence[int]) -> None:
        tried.append(len(batch))
        if len(batch) > 4:
            raise ERRORS[0]

    size = BatchSize(256, "resources.decode_batch")
    size.over(range(10), run)
    assert tried == [10, 5, 3, 3, 3, 1]
    assert size.size == 3


def test_another_error_is_not_taken_for_a_shortage() -> None:
    run, _ = holds(1, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        BatchSize(2, "resources.decode_batch").over(range(4), run)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has memory for the decoder's pass over two utterances and no more."""
    through = ragged.CPUDecoder.run_layer

    def short(decoder: ragged.CPUDecoder, *args: Any, **kwargs: Any) -> torch.Tensor:
        if len(decoder.prompts.lengths) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return through(decoder, *args, **kwargs)

    monkeypatch.setattr(ragged.CPUDecoder, "run_layer", short)


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


def test_translations_are_those_of_a_machine_with_enough_memory(
    translator: Translator, tiny_manifest: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = Manifest.load(tiny_manifest)
    enough = greedy.translate(translator, manifest, batch_size=8, max_new_tokens=8)
    request.getfixturevalue("short")
    assert greedy.translate(translator, manifest, batch_size=8, max_new_tokens=8) == enough
    assert len(caplog.messages) == 1


def test_search_goes_on_with_the_candidates_that_are_left(
    translator: Translator, tiny_manifest: Path, request: pytest.FixtureRequest
) -> None:
    def searched() -> list[tuple[str, int, list[str]]]:
        return list(
            search.translations_without_each(
                translator,
                Manifest.load(tiny_manifest),
                {"decoder": [], "encoder": []},
                {"decoder": [1, 2, 4], "encoder": []},
                batch_size=8,
                max_new_tokens=8,
            )
        )

    enough = searched()
    request.getfixturevalue("short")
    assert searched() == enough


@pytest.fixture
def short_forward(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, memory suffices for three utterances at a time in the decoder and no more."""
    decoder = translator.architecture.stack(translator.model, "decoder")
    forward = decoder.forward

    def short(*args: Any, inputs_embeds: torch.Tensor, **rest: Any) -> Any:
        if len(inputs_embeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, inputs_embeds=inputs_embeds, **rest)

    return lambda: monkeypatch.setattr(decoder, "forward", short)


def test_held_out_loss_is_that_of_a_machine_with_enough_memory(
    translator: Translator, tiny_manifest: Path, ctx: Context, short_forward: Callable[[], None]
) -> None:
    manifest = Manifest.load(tiny_manifest)
    whole = replace(ctx, train_micro_batch=8)
    enough = TeacherForcing(translator, manifest, whole).loss()
    short_forward()
    assert TeacherForcing(translator, manifest, whole).loss() == pytest.approx(enough, rel=1e-6)


def test_search_by_loss_goes_on_with_smaller_batches(
    translator: Translator, tiny_manifest: Path, short_forward: Callable[[], None]
) -> None:
    def searched() -> dict[tuple[str, int], float]:
        places: LayersByStack = {"decoder": [1, 2], "encoder": []}
        found = losses_without_each(
            translator, Manifest.load(tiny_manifest), {"decoder": [4], "encoder": []}, places, batch_size=8
        )
        return {(stack, layer): loss for stack, layer, loss in found}

    enough = searched()
    short_forward()
    assert searched() == pytest.approx(enough, rel=1e-6)


def test_similarity_counts_a_batch_once_that_memory_ran_out_for(
    translator: Translator, tiny_manifest: Path, ctx: Context, short_forward: Callable[[], None]
) -> None:
    whole = replace(ctx, train_micro_batch=8)
    manifest = Manifest.load(tiny_manifest)
    enough = similarities(translator, manifest, whole)
    short_forward()
    found = similarities(translator, manifest, whole)
    for stack, similarity in found.items():
        assert similarity.influence_positions == enough[stack].influence_positions
        assert similarity.influence.tolist() == pytest.approx(enough[stack].influence.tolist(), rel=1e-4, abs=1e-6)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's heap")
@pytest.mark.parametrize("first", ["", "give_back_large_blocks()"], ids=["glibc alone", "with it"])
def test_large_arrays_are_given_back_to_the_system_also_from_between_small_ones(first: str) -> None:
    code = (
        "import numpy, psutil\nfrom stc.system.memory import give_back_large_blocks\n"
        f"{first}\n"
        "numpy.ones(6 * 2**20, 'u1')\n"  # glibc raises its limit when this one is freed
        "memory = psutil.Process().memory_info\nbefore = memory().rss\n"
        "pairs = [(numpy.ones(5 * 2**20, 'u1'), numpy.ones(100_000, 'u1')) for _ in range(20)]\n"
        "small = [pair[1] for pair in pairs]\ndel pairs\n"
        "print(memory().rss - before)"
    )
    kept = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert (kept < 20 * 2**20) == bool(first), kept

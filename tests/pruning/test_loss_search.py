"""Sharing the layers below a candidate changes no loss."""

from pathlib import Path

import pytest
import torch

from stc.data.manifest import Manifest
from stc.models.layer_removal import without_layers
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.pruning.search.losses import PairBatch, losses_without_each
from stc.pruning.search.translations import LayersByStack
from stc.training.teacher_forcing import TeacherForcing

REMOVED: LayersByStack = {"decoder": [3], "encoder": [2]}
CANDIDATES: LayersByStack = {"decoder": [4, 1], "encoder": [3, 1]}


@pytest.fixture(scope="module")
def translator(planted_model: Path) -> Translator:
    translator = load(planted_model, device="cpu", dtype="float32")
    translator.model.requires_grad_(False)
    return translator


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    return Manifest.load(tiny_manifest)


def plain(translator: Translator, manifest: Manifest, ctx: Context) -> dict[tuple[str, int], float]:
    """Return the loss of each model, computed in full passes."""
    found: dict[tuple[str, int], float] = {}
    for stack in ("decoder", "encoder"):
        for layer in sorted(CANDIDATES[stack]):
            gone = {**REMOVED, stack: [*REMOVED[stack], layer]}
            with without_layers(translator, gone):
                found[stack, layer] = TeacherForcing(translator, manifest, ctx, encode_once=False).loss()
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_losses_are_those_of_the_model_without_the_layers(
    batch_size: int, translator: Translator, manifest: Manifest, ctx: Context
) -> None:
    found = list(losses_without_each(translator, manifest, REMOVED, CANDIDATES, batch_size=batch_size))
    expected = plain(translator, manifest, ctx)
    assert [(stack, layer) for stack, layer, _ in found] == list(expected)
    assert [loss for *_, loss in found] == pytest.approx(list(expected.values()), rel=1e-5)
    assert len(set(expected.values())) == len(expected)


def test_a_layer_works_once_for_all_candidates_above_it(translator: Translator, manifest: Manifest) -> None:
    calls = dict.fromkeys(range(6), 0)

    def count(layer: int) -> None:
        calls[layer] += 1

    handles = [
        module.register_forward_hook(lambda *_, layer=layer: count(layer))
        for layer, module in enumerate(translator.architecture.layers_of(translator.model, "decoder"))
    ]
    candidates: LayersByStack = {"decoder": [2, 4], "encoder": []}
    list(losses_without_each(translator, manifest, {"decoder": [], "encoder": []}, candidates, batch_size=8))
    for handle in handles:
        handle.remove()
    assert calls == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2}


def test_out_of_memory_halves_the_batch_and_repeats_no_candidate_that_was_finished(
    translator: Translator, manifest: Manifest, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shortage is simulated, at the second candidate."""
    sizes: list[int] = []
    nats = PairBatch.nats

    def tight(batch: PairBatch, translator: Translator) -> torch.Tensor:
        sizes.append(len(batch.hidden))
        if len(sizes) == 2:
            raise torch.OutOfMemoryError("simulated")
        return nats(batch, translator)

    monkeypatch.setattr(PairBatch, "nats", tight)
    only: LayersByStack = {**CANDIDATES, "encoder": []}
    found = [loss for *_, loss in losses_without_each(translator, manifest, REMOVED, only, batch_size=8)]
    assert sizes == [8, 8, 4, 4]
    expected = plain(translator, manifest, ctx)
    assert found == pytest.approx([expected["decoder", 1], expected["decoder", 4]], rel=1e-5)


def test_the_model_is_complete_after_a_search_that_was_stopped(
    translator: Translator, manifest: Manifest, ctx: Context
) -> None:
    before = TeacherForcing(translator, manifest, ctx).loss()
    walk = losses_without_each(translator, manifest, REMOVED, CANDIDATES, batch_size=8)
    next(walk)
    walk.close()
    assert TeacherForcing(translator, manifest, ctx).loss() == before

"""Examples for training: the output of a frozen encoder is kept, and the loss is that of the audio."""

from pathlib import Path

import pytest
import torch

from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.training.examples import Examples
from stc.training.fit_translator import select_trainable


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture
def passes(translator: Translator) -> list[int]:
    """Record how many utterances each pass of the encoder has."""
    seen: list[int] = []
    tower = translator.model.model.audio_tower
    tower.layers[0].register_forward_hook(lambda module, args, out: seen.append(len(out)))
    return seen


def test_a_frozen_encoder_encodes_each_recording_once(
    translator: Translator, passes: list[int], tiny_manifest: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    again = [row.model_copy(update={"id": f"{row.id}.kd", "target": "Noch einmal."}) for row in manifest.rows]
    select_trainable(translator, ["projector", "decoder"])
    examples = Examples(translator, Manifest(manifest.folder, manifest.task, manifest.rows + again), ctx)
    for indices in ([0, 1, 8], [8, 9, 2], [0, 1, 2]):
        examples.batch(indices)
    assert passes == [2, 1]


def test_what_was_encoded_gives_the_loss_of_the_audio(
    translator: Translator, passes: list[int], tiny_manifest: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    unfrozen = Examples(translator, manifest, ctx).batch([0, 3, 7])
    select_trainable(translator, ["projector", "decoder"])
    frozen = Examples(translator, manifest, ctx).batch([0, 3, 7])
    assert unfrozen.encoded is None
    assert frozen.encoded is not None
    with torch.no_grad():
        torch.testing.assert_close(translation_loss(translator, frozen), translation_loss(translator, unfrozen))


def test_a_trained_encoder_encodes_again_each_time(
    translator: Translator, passes: list[int], tiny_manifest: Path, ctx: Context
) -> None:
    select_trainable(translator, ["encoder"])
    examples = Examples(translator, Manifest.load(tiny_manifest), ctx)
    for _ in range(2):
        translation_loss(translator, examples.batch([0, 1])).backward()
    assert passes == [2, 2]
    assert translator.model.model.audio_tower.layers[0].fc1.weight.grad is not None


def test_states_beyond_the_limit_are_computed_again(
    translator: Translator, passes: list[int], tiny_manifest: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Examples, "CACHE_BYTES", 0)
    select_trainable(translator, ["decoder"])
    examples = Examples(translator, Manifest.load(tiny_manifest), ctx)
    first, second = examples.batch([0, 1]), examples.batch([0, 1])
    assert passes == [2, 2]
    assert first.encoded is not None
    assert second.encoded is not None
    assert torch.equal(first.encoded.states, second.encoded.states)

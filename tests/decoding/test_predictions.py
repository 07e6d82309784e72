"""The loss is the cross-entropy of the target tokens, and only of those."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from stc.data.audio import read_batch
from stc.data.collate import Batch, Collator
from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.load_and_save import Translator, load


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def batch(translator: Translator, tiny_manifest: Path) -> Batch:
    manifest = Manifest.load(tiny_manifest)
    collator = Collator.of(translator, manifest.task)
    rows = manifest.rows[:4]
    audio = read_batch(manifest, rows, 16000, workers=1)
    return collator.pairs([row.id for row in rows], audio, [row.target for row in rows])


def test_the_loss_is_that_of_the_whole_model(translator: Translator, batch: Batch) -> None:
    frames = batch.inputs["input_features"].shape[-1]
    missing = 2 * translator.model.config.audio_config.max_source_positions - frames  # the model takes whole windows
    whole = {
        name: functional.pad(tensor, (0, missing)) if name.endswith(("features", "feature_attention_mask")) else tensor
        for name, tensor in batch.inputs.items()
    }
    assert missing > 0
    with torch.no_grad():
        expected = translator.model(**whole, labels=batch.labels).loss
        found = translation_loss(translator, batch) / batch.tokens
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_label_smoothing_mixes_in_the_uniform_distribution(translator: Translator, batch: Batch) -> None:
    with torch.no_grad():
        plain, some, all_but = (translation_loss(translator, batch, share) for share in (0.0, 0.1, 0.999999))
    torch.testing.assert_close(some, 0.9 * plain + 0.1 * all_but, rtol=1e-4, atol=1e-3)

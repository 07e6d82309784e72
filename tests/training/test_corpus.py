"""Batches made on the device are those of the processor, apart from the augmentation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.language_pair import Task
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.training import augmented_corpus as corpus_module
from stc.training.augmented_corpus import Corpus


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture
def manifests(tiny_manifest: Path) -> list[Manifest]:
    german = Manifest.load(tiny_manifest)
    return [german, Manifest(german.folder, Task(target_lang="fr", target_name="French"), german.rows[:3])]


def test_without_augmentation_a_batch_is_the_processors(
    translator: Translator, manifests: list[Manifest], ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "draw_rates", lambda lengths, window, generator: np.ones(len(lengths)))
    monkeypatch.setattr(corpus_module, "distort", lambda waves, lengths, generator: waves)
    monkeypatch.setattr(corpus_module, "replace_targets", lambda input_ids, labels, generator: input_ids)
    monkeypatch.setattr(corpus_module, "mask_features", lambda features, rate, generator: features)
    corpus = Corpus(translator, manifests, seed=0, ctx=ctx)
    assert len(corpus.lengths) == 11
    for manifest, offset in zip(manifests, (0, 8), strict=True):
        found = corpus.batch([offset + 2, offset])
        collator = Collator.of(translator, manifest.task)
        rows = [manifest.rows[2], manifest.rows[0]]
        audio = read_batch(manifest, rows, 16000, workers=1)
        expected = collator.pairs([row.id for row in rows], audio, [row.target for row in rows])
        assert torch.equal(found.inputs["input_ids"], expected.inputs["input_ids"])
        assert torch.equal(found.labels, expected.labels)
        assert found.tokens == expected.tokens
        mask = found.inputs["feature_attention_mask"]
        frames = expected.inputs["input_features"].shape[-1]  # the processor's end soon after the longest audio
        assert torch.equal(mask[:, :frames], expected.inputs["feature_attention_mask"])
        assert not mask[:, frames:].any()
        features = found.inputs["input_features"][..., :frames]
        torch.testing.assert_close(features, expected.inputs["input_features"], atol=1e-4, rtol=0)


def test_augmented_batches_fit_the_model_and_differ_each_time(
    translator: Translator, manifests: list[Manifest], ctx: Context
) -> None:
    corpus = Corpus(translator, manifests, seed=0, ctx=ctx)
    losses = [translation_loss(translator, corpus.batch(range(11))).item() for _ in range(2)]
    assert losses[0] != losses[1]

"""Batches made on the device are those the processor makes, but for the augmentation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding.predictions import translation_loss
from stc.models.checkpoint import Translator, load
from stc.models.task import Task
from stc.pipeline.stage import Context
from stc.training import corpus as corpus_module
from stc.training.corpus import Corpus
from stc.training.ctc import Characters, CtcHead


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
    monkeypatch.setattr(corpus_module, "forget_targets", lambda input_ids, labels, generator: input_ids)
    monkeypatch.setattr(corpus_module, "mask_features", lambda features, rate, generator: features)
    corpus = Corpus(translator, manifests, seed=0, ctx=ctx)
    assert len(corpus) == 11
    for manifest, offset in zip(manifests, (0, 8), strict=True):
        found = corpus.batch([offset + 2, offset])
        collator = Collator.of(translator, manifest.task)
        rows = [manifest.rows[2], manifest.rows[0]]
        audio = read_batch(manifest, rows, 16000, workers=1)
        expected = collator.pairs([row.id for row in rows], audio, [row.target for row in rows])
        assert torch.equal(found.translation.inputs["input_ids"], expected.inputs["input_ids"])
        assert torch.equal(found.translation.labels, expected.labels)
        assert found.tokens == expected.tokens == found.weights.sum()
        mask = found.translation.inputs["feature_attention_mask"]
        frames = expected.inputs["input_features"].shape[-1]  # the processor's end soon after the longest audio
        assert torch.equal(mask[:, :frames], expected.inputs["feature_attention_mask"])
        assert not mask[:, frames:].any()
        features = found.translation.inputs["input_features"][..., :frames]
        torch.testing.assert_close(features, expected.inputs["input_features"], atol=1e-4, rtol=0)


def test_augmented_batches_fit_the_model_and_differ_each_time(
    translator: Translator, manifests: list[Manifest], ctx: Context
) -> None:
    corpus = Corpus(translator, manifests, seed=0, ctx=ctx)
    head = CtcHead(translator, len(corpus.characters))
    losses = []
    for _ in range(2):
        batch = corpus.batch(range(11))
        losses.append(translation_loss(translator, batch.translation).item())
        spelling = head.losses(batch.positions, batch.spellings, batch.letters)
        assert spelling.shape == (11,)
        assert spelling.isfinite().all()
    assert losses[0] != losses[1]
    head.detach()


def test_spelling_losses_are_those_of_each_utterance_alone(
    translator: Translator, manifests: list[Manifest], ctx: Context
) -> None:
    corpus = Corpus(translator, manifests, seed=0, ctx=ctx)
    torch.manual_seed(0)
    head = CtcHead(translator, len(corpus.characters))
    batch = corpus.batch([5, 7])
    with torch.no_grad():
        translation_loss(translator, batch.translation)
        together = head.losses(batch.positions, batch.spellings, batch.letters)
        last, letters = batch.positions[1], batch.letters[1]
        scores = head.classes(head._encoded[-last:]).log_softmax(-1)
        alone = torch.nn.functional.ctc_loss(
            scores[:, None], batch.spellings[1:, :letters], (last,), (letters,), reduction="sum"
        )
    head.detach()
    torch.testing.assert_close(together[1], alone / letters)


def test_spelling_keeps_letters_and_apostrophes_in_lower_case() -> None:
    characters = Characters(["Don't stop, O'Neil!", "ab 12"])
    assert characters.encode("DON’T –stop").tolist() == characters.encode("don't stop").tolist()
    assert characters.encode("ab")[1] == characters.encode("b")[0]
    assert min(characters.encode("Don't stop, O'Neil!")) > 0
    assert max(characters.encode("Don't stop, O'Neil! ab 12")) < len(characters)

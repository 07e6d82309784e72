"""The second objective of training from scratch: the encoder alone spells what is said."""

from pathlib import Path

import pytest
import torch

from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from talks.training.ctc import Characters, CtcHead
from talks.training.from_scratch import SpelledCorpus


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture
def corpus(translator: Translator, tiny_manifest: Path, ctx: Context) -> SpelledCorpus:
    return SpelledCorpus(translator, [Manifest.load(tiny_manifest)], seed=0, ctx=ctx)


def test_every_utterance_has_a_spelling_loss(translator: Translator, corpus: SpelledCorpus) -> None:
    head = CtcHead(translator, len(corpus.characters))
    batch = corpus.spelled_batch(range(8))
    translation_loss(translator, batch.translation)
    spelling = head.losses(batch.positions, batch.spellings, batch.letters)
    assert spelling.shape == (8,)
    assert spelling.isfinite().all()
    assert batch.weights.sum() == batch.tokens
    head.detach()


def test_spelling_losses_are_those_of_each_utterance_alone(translator: Translator, corpus: SpelledCorpus) -> None:
    torch.manual_seed(0)
    head = CtcHead(translator, len(corpus.characters))
    batch = corpus.spelled_batch([5, 7])
    with torch.no_grad():
        translation_loss(translator, batch.translation)
        together = head.losses(batch.positions, batch.spellings, batch.letters)
        last, letters = batch.positions[1], batch.letters[1]
        scores = head.classes(head.encoded[-last:]).log_softmax(-1)
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

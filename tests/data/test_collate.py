"""Labels cover the target and its end, the prompt is that of decoding, and long audio is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stc.data.audio import read_batch
from stc.data.collate import IGNORED, Collator
from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.load_and_save import Translator, load


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    return Manifest.load(tiny_manifest)


@pytest.fixture
def collator(translator: Translator, manifest: Manifest) -> Collator:
    return Collator.of(translator, manifest.task)


def test_labels_cover_exactly_the_target_and_its_end_token(
    collator: Collator, translator: Translator, manifest: Manifest
) -> None:
    rows = manifest.rows[:3]
    audio = read_batch(manifest, rows, 16000, workers=1)
    batch = collator.pairs([row.id for row in rows], audio, [row.target for row in rows])
    prompts = collator.prompts([row.id for row in rows], audio)["attention_mask"].sum(dim=1)
    tokenizer = translator.processor.tokenizer
    for index, row in enumerate(rows):
        labelled = (batch.labels[index] != IGNORED).nonzero().flatten().tolist()
        tokens = batch.labels[index][labelled].tolist()
        assert labelled == list(range(prompts[index], prompts[index] + len(tokens)))
        assert tokens[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(tokens[:-1]) == row.target
        assert batch.inputs["input_ids"][index][labelled].tolist() == tokens
        assert batch.inputs["attention_mask"][index].sum() == prompts[index] + len(tokens)
    assert batch.tokens == (batch.labels != IGNORED).sum()


def test_training_and_decoding_read_the_same_prompt(collator: Collator, manifest: Manifest) -> None:
    rows = manifest.rows[:2]
    audio = read_batch(manifest, rows, 16000, workers=1)
    prompts = collator.prompts([row.id for row in rows], audio)
    pairs = collator.pairs([row.id for row in rows], audio, [row.target for row in rows]).inputs
    for index, length in enumerate(prompts["attention_mask"].sum(dim=1)):
        assert torch.equal(prompts["input_ids"][index, :length], pairs["input_ids"][index, :length])
    assert torch.equal(prompts["input_features"], pairs["input_features"])


@pytest.mark.parametrize("longest", [8000, 8001, 31000, 32000])
def test_features_are_the_first_of_the_whole_windows(
    collator: Collator, translator: Translator, manifest: Manifest, longest: int
) -> None:
    audio = [np.random.default_rng(0).standard_normal(samples).astype(np.float32) for samples in (longest, 700)]
    extractor = translator.processor.feature_extractor
    whole = extractor(audio, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
    found = collator.prompts(["a", "b"], audio)
    mask = found["feature_attention_mask"]
    assert torch.equal(mask, whole["attention_mask"][:, : mask.shape[1]])
    assert mask.sum() == whole["attention_mask"].sum()
    heard = int(mask.sum(dim=1).max()) + 3  # what the encoder's two convolutions see, and an even number
    features = found["input_features"][..., :heard]
    assert torch.equal(features, whole["input_features"][..., :heard])


def test_prompt_tokens_by_length_are_those_made_from_the_audio(collator: Collator) -> None:
    for samples in (159, 160, 161, 8000, 31999, 32000):
        tokens = collator.prompts(["a"], [np.zeros(samples, dtype=np.float32)])["input_ids"][0]
        assert collator.prompt_tokens(samples).tolist() == tokens.tolist()


def test_audio_longer_than_the_window_is_refused_by_id(collator: Collator, manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"'too-long'.* 2 s"):
        collator.prompts(["too-long"], [np.zeros(32001, dtype=np.float32)])
    long = manifest.rows[0].model_copy(update={"id": "too-long", "duration": 2.5})
    with pytest.raises(InputError, match=r"'too-long'.*2\.50 s"):
        collator.check_lengths(Manifest(manifest.folder, manifest.task, [*manifest.rows, long]))

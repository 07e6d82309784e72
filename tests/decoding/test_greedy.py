"""Greedy decoding is ``generate``'s, whatever the batch size and the folder's generation_config."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding.cpu_engine import generate_tokens
from stc.decoding.greedy import decode, embed_prompts, longest_first, one_ahead, translate
from stc.models.architecture import Architecture
from stc.models.layer_removal import without_layers
from stc.models.load_and_save import Translator, load
from stc.system.memory import BatchSize


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    return Manifest.load(tiny_manifest)


def test_texts_do_not_depend_on_the_batch_size(translator: Translator, manifest: Manifest) -> None:
    alone = translate(translator, manifest, batch_size=1, max_new_tokens=12)
    assert len(set(alone)) == len(manifest)  # the model hears a difference
    for batch_size in (3, 8):
        assert translate(translator, manifest, batch_size=batch_size, max_new_tokens=12) == alone


def test_texts_are_those_of_generate(translator: Translator, manifest: Manifest) -> None:
    processor, model = translator.processor, translator.model
    prompt = translator.architecture.prompt(processor, manifest.task)
    audio = read_batch(manifest, manifest.rows, 16000, workers=1)
    expected = []
    for samples in audio:
        inputs = processor(text=[prompt], audio=[samples], sampling_rate=16000, return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        expected.append(" ".join(processor.tokenizer.decode(tokens, skip_special_tokens=True).splitlines()).strip())
    assert translate(translator, manifest, batch_size=4, max_new_tokens=12) == expected


@torch.inference_mode()
def test_an_end_token_cuts_each_utterance_where_it_stands_in_it(translator: Translator, manifest: Manifest) -> None:
    def tokens() -> list[list[int]]:
        encoded = embed_prompts(translator, manifest, batch_size=4)
        return generate_tokens(translator, [encoded[index] for index in longest_first(encoded)], 12)

    free = tokens()
    end = free[0][5]
    translator.model.generation_config.eos_token_id = [end]
    expected = [row[: row.index(end)] if end in row else row for row in free]
    assert expected[0] != free[0]
    assert tokens() == expected


def test_texts_that_reach_the_limit_are_known(translator: Translator, manifest: Manifest) -> None:
    encoded = embed_prompts(translator, manifest, batch_size=4)
    order = longest_first(encoded)
    end = generate_tokens(translator, [encoded[index] for index in order], 12)[0][5]
    translator.model.generation_config.eos_token_id = [end]
    rows = generate_tokens(translator, [encoded[index] for index in order], 12)
    expected = {index for index, row in zip(order, rows, strict=True) if len(row) == 12}
    assert 0 < len(expected) < len(manifest)
    for batch_size in (1, 3):  # with 1, they are translated in several parts
        found: set[int] = set()
        translate(translator, manifest, batch_size=batch_size, max_new_tokens=12, cut_off=found)
        assert found == expected


def test_the_folders_generation_config_changes_nothing(translator: Translator, manifest: Manifest) -> None:
    plain = translate(translator, manifest, batch_size=8, max_new_tokens=12)
    end = translator.model.generation_config.eos_token_id
    translator.model.generation_config = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=3.0, num_beams=4, min_new_tokens=12, eos_token_id=end
    )
    assert translate(translator, manifest, batch_size=8, max_new_tokens=12) == plain


def test_encoded_audio_can_be_decoded_with_fewer_layers(translator: Translator, manifest: Manifest) -> None:
    encoded = embed_prompts(translator, manifest, batch_size=4)
    whole = decode(translator, encoded, batch_size=8, max_new_tokens=12)
    with without_layers(translator, {"decoder": [2, 3]}):
        pruned = decode(translator, encoded, batch_size=8, max_new_tokens=12)
        assert pruned == translate(translator, manifest, batch_size=8, max_new_tokens=12)
    assert pruned != whole
    assert decode(translator, encoded, batch_size=8, max_new_tokens=12) == whole


def test_embeddings_are_those_of_one_utterance_alone(translator: Translator, manifest: Manifest) -> None:
    together = embed_prompts(translator, manifest, batch_size=8)
    alone = embed_prompts(translator, manifest, batch_size=1)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_one_batch_is_made_ahead_and_no_more_and_its_error_comes_in_its_turn() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return 1 // (3 - number)

    batches = one_ahead(make, range(9))
    for number in range(3):
        assert next(batches) == 1 // (3 - number)
        assert len(made) <= number + 2
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert made == [0, 1, 2, 3, 4]


def test_memory_may_run_out_where_features_are_made(
    translator: Translator, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    prompts = Collator.prompts

    def short_of_memory(collator: Collator, ids: Sequence[str], audio: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        made.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("simulated")
        return prompts(collator, ids, audio)

    expected = embed_prompts(translator, manifest, batch_size=5)
    monkeypatch.setattr(Collator, "prompts", short_of_memory)
    size = BatchSize(5, "resources.decode_batch")
    found = embed_prompts(translator, manifest, batch_size=size)
    assert made[:3] == [5, 3, 2]
    assert size.size == 5  # that many are encoded and decoded
    torch.testing.assert_close(found, expected)


def test_memory_may_run_out_where_audio_is_encoded(
    translator: Translator, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    architecture = type(translator.architecture)
    encode = architecture.encode_audio

    def short_of_memory(self: Architecture, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        encoded.append(len(batch["input_features"]))
        if encoded[-1] > 2:
            raise torch.OutOfMemoryError("simulated")
        return encode(self, model, batch)

    expected = embed_prompts(translator, manifest, batch_size=256)
    monkeypatch.setattr(architecture, "encode_audio", short_of_memory)
    found = embed_prompts(translator, manifest, batch_size=256)
    assert encoded == [8, 4, *[2] * 4]
    torch.testing.assert_close(found, expected)


def test_progress_counts_every_utterance(translator: Translator, manifest: Manifest) -> None:
    class Bar:
        done = 0

        def update(self, n: int = 1, note: str = "") -> None:
            self.done += n

    bar = Bar()
    texts = translate(translator, manifest, batch_size=3, max_new_tokens=2, progress=bar)
    assert bar.done == len(texts) == len(manifest)
    assert all("\n" not in text and text == text.strip() for text in texts)

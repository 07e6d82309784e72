"""Beam search and sampling: what is decoded depends on the settings and the model, and on nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from pydantic import ValidationError
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.decoding.options import Decoding
from stc.decoding.transformers_generate import GumbelNoise
from stc.decoding.transformers_generate import translate_by_beams_or_sampling as generate
from stc.models.load_and_save import Translator, load

NEW_TOKENS = 8
SAMPLE = {"method": "sample", "seed": 1}


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


Generate = Callable[..., list[list[str]]]


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    """Four utterances of different lengths."""
    whole = Manifest.load(tiny_manifest)
    return Manifest(whole.folder, whole.task, whole.rows[1::2])


@pytest.fixture
def decoded(translator: Translator, manifest: Manifest) -> Generate:
    """``decoded(batch_size=…, method=…, …)``: four utterances, a few tokens of each."""

    def run(batch_size: int = 4, model: Translator = translator, **settings: Any) -> list[list[str]]:
        return generate(model, manifest, Decoding(**settings), batch_size=batch_size, max_new_tokens=NEW_TOKENS)

    return run


def test_generating_greedily_is_greedy_decoding(decoded: Generate, translator: Translator, manifest: Manifest) -> None:
    greedy = translate(translator, manifest, batch_size=4, max_new_tokens=NEW_TOKENS)
    assert [text for (text,) in decoded(method="greedy")] == greedy


def test_nearly_cold_sampling_is_greedy_decoding(decoded: Generate) -> None:
    assert decoded(**SAMPLE, temperature=1e-4) == decoded(method="greedy")
    assert decoded(**SAMPLE, top_p=1e-6) == decoded(method="greedy")
    assert decoded(**SAMPLE) != decoded(method="greedy")


@pytest.mark.parametrize("settings", [{"method": "beam", "beams": 3}, {**SAMPLE, "samples": 2}], ids=["beam", "sample"])
def test_texts_do_not_depend_on_the_batch(settings: dict[str, Any], decoded: Generate) -> None:
    assert decoded(batch_size=1, **settings) == decoded(batch_size=24, **settings)


def test_beam_search_is_what_transformers_makes_of_the_audio_itself(
    decoded: Generate, translator: Translator, manifest: Manifest, tiny_model: Path
) -> None:
    """One utterance at a time, from features of the whole window, by a model that stc has not touched."""
    model = Qwen2AudioForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tiny_model)
    conversation = translator.architecture.conversation(manifest.task)
    prompt = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    found = decoded(method="beam", beams=3)
    assert found != decoded(method="greedy")
    for path, (text,) in zip(manifest.audio_paths(), found, strict=True):
        inputs = processor(text=[prompt], audio=[soundfile.read(path)[0]], sampling_rate=16_000, return_tensors="pt")
        tokens = model.generate(**inputs, num_beams=3, do_sample=False, max_new_tokens=NEW_TOKENS)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        assert " ".join(processor.tokenizer.decode(new, skip_special_tokens=True).split()) == " ".join(text.split())


def test_samples_differ_by_utterance_by_number_and_by_seed(decoded: Generate) -> None:
    first, other = decoded(**SAMPLE, samples=3), decoded(method="sample", seed=2, samples=3)
    assert [len(texts) for texts in first] == [3] * 4
    assert all(len(set(texts)) > 1 for texts in first)
    assert first != other
    assert first == decoded(**SAMPLE, samples=3)


def test_first_samples_of_many_are_those_of_few(decoded: Generate) -> None:
    assert [texts[:1] for texts in decoded(**SAMPLE, samples=3)] == decoded(**SAMPLE)


def test_generation_config_of_the_folder_decides_nothing(decoded: Generate, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    file = folder / "generation_config.json"
    stated = json.loads(file.read_text())
    meddling = {"do_sample": True, "temperature": 3.0, "top_k": 2, "repetition_penalty": 5.0, "length_penalty": -5.0}
    file.write_text(json.dumps({**stated, **meddling, "no_repeat_ngram_size": 1, "min_new_tokens": 9}))
    meddled = load(folder, device="cpu", dtype="float32")
    for settings in ({"method": "greedy"}, {"method": "beam", "beams": 3}, {**SAMPLE}):
        assert decoded(model=meddled, **settings) == decoded(**settings)


def test_what_is_drawn_has_the_probability_it_should() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    rows = 4000
    drawn = GumbelNoise(list(range(rows)))(torch.zeros(rows, 1), probabilities.log().expand(rows, 5)).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=5) / rows
    assert shares[4] == 0
    assert (shares - probabilities).abs().max() < 4 * (0.25 / rows) ** 0.5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "greedy", "beams": 4}, "beams=4: is read by method beam only"),
        ({"method": "beam", "beams": 4, "top_p": 0.9}, r"top_p=0\.9: is read by method sample only"),
        ({"method": "beam"}, "method beam needs beams"),
        ({"method": "sample"}, "method sample needs seed"),
        ({"method": "beam", "beams": 1}, "greater than or equal to 2"),
        ({**SAMPLE, "temperature": 0}, "greater than 0"),
        ({**SAMPLE, "top_p": 1.1}, "less than or equal to 1"),
    ],
)
def test_setting_without_effect_or_out_of_range_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Decoding(**settings)


def test_seed_is_part_of_no_identity_where_nothing_is_drawn() -> None:
    assert Decoding(method="beam", beams=4, seed=1) == Decoding(method="beam", beams=4, seed=2)
    assert Decoding(method="sample", seed=1) != Decoding(method="sample", seed=2)

"""A new family in one file: a decoder without encoder that stc's engines do not support."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import stc.models
from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments
from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.errors import ConfigError
from stc.metrics.size import size_of
from stc.models import architecture
from stc.models.create_qwen2_audio import END, END_OF_TEXT, build_processor
from stc.models.layer_removal import without_layers
from stc.models.layout import Layout, RemovalCounts
from stc.models.load_and_save import Translator, load, save
from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.pruning.search.translations import translations_without_each
from stc.stages.finetune import Finetune
from stc.stages.prune import Prune
from stc.store.artifact import Artifact, Kind
from stc.system.paths import ROOT
from stc.training.teacher_forcing import similarities

FAMILY = '''
"""Frames of a spectrogram, four at a time, as the words of a language model."""

from functools import cache

from stc.errors import ModelError
from stc.models.architecture import Architecture, EncodedAudio


class Ear(Architecture):
    model_type = "ear"
    chat_template = "<|AUDIO|>{{ messages[0].content[1].text }}"
    parts = {
        "projector": ["ear"],
        "decoder": ["model.layers", "model.norm"],
        "embedding": ["model.embed_tokens"],
        "head": ["lm_head"],
    }
    stacks = {"decoder": "model.layers"}

    def check(self, config, where):
        if not isinstance(config.get("mel_bins"), int):
            raise ModelError(f"{where}: mel_bins")

    def layers(self, config):
        return {"decoder": config["num_hidden_layers"]}

    def keep_layers(self, config, stack, kept):
        config.layer_types = [config.layer_types[layer] for layer in kept]
        config.num_hidden_layers = len(kept)

    def conversation(self, task):
        asked = {"type": "text", "text": f"Say it in {task.target_name}:"}
        return [{"role": "user", "content": [{"type": "audio"}, asked]}]

    @cache
    def model_class(self):
        from torch import nn
        from transformers import Qwen2Config, Qwen2ForCausalLM

        class EarConfig(Qwen2Config):
            model_type = "ear"

        class EarForCausalLM(Qwen2ForCausalLM):
            config_class = EarConfig

            def __init__(self, config):
                super().__init__(config)
                self.ear = nn.Linear(config.mel_bins, config.hidden_size)
                self.post_init()

        return EarForCausalLM

    def encode_audio(self, model, batch):
        import torch

        counts = ((batch["feature_attention_mask"].sum(-1) - 1) // 2 - 1) // 2 + 1
        frames = batch["input_features"].mT
        together = frames[:, : frames.shape[1] // 4 * 4].reshape(len(frames), -1, 4, frames.shape[2]).mean(2)
        place = torch.arange(together.shape[1], device=counts.device)
        return EncodedAudio(together[place[None] < counts[:, None]], counts)

    def embed(self, model, input_ids, encoded):
        place = input_ids == model.config.audio_token_id
        embeds = model.get_input_embeddings()(input_ids)
        return embeds.masked_scatter(place[..., None], model.ear(encoded.states.to(embeds.dtype)).to(embeds.dtype))


ARCHITECTURE = Ear()
'''
REMOVED = [1, 3]
SECONDS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model of the family, whose file is where the package of families is looked for."""
    files = tmp_path_factory.mktemp("families")
    (files / "ear.py").write_text(FAMILY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stc.models, "__path__", [*stc.models.__path__, str(files)])
        yield made(tmp_path_factory.mktemp("models") / "ear")
        patch.delitem(sys.modules, "stc.models.ear")


def made(folder: Path) -> Path:
    from transformers import GenerationConfig

    processor = build_processor(["It says what it hears, in German."], 300, SECONDS, 40)
    processor.chat_template = architecture("ear").chat_template
    tokenizer = processor.tokenizer
    family = architecture("ear")
    model_class = family.model_class()
    torch.manual_seed(0)
    config = model_class.config_class(
        hidden_size=64, intermediate_size=128, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=len(tokenizer), mel_bins=40, audio_token_id=processor.audio_token_id, initializer_range=0.2,
    )  # fmt: skip
    model = model_class(config)
    end, pad = tokenizer.convert_tokens_to_ids([END, END_OF_TEXT])
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=False)
    save(Translator(model, processor, family, folder), folder)
    return folder


def translations(model: Translator, manifest: Manifest) -> list[str]:
    return translate(model, manifest, batch_size=3, max_new_tokens=6)


def loaded(folder: Path) -> Translator:
    return load(folder, device="cpu", dtype="float32")


@pytest.fixture
def inputs(folder: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    facts: dict[str, Any] = {
        "layers": {"decoder": 5}, "order": REMOVED[::-1], "encoder_order": [], "layers_removed": REMOVED,
        "encoder_layers_removed": [],
    }  # fmt: skip
    return {
        "model": Artifact(Kind.MODEL, folder, "ear"),
        "ranking": Artifact(Kind.RANKING, Path(), "", facts),
        "train": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def test_it_translates_is_pruned_saved_and_loaded_again(
    folder: Path, inputs: dict[str, Artifact], tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    whole = loaded(folder)
    said = translations(whole, manifest)
    assert len(set(said)) > 1
    facts = Prune(dtype="float32").run(inputs, tmp_path / "pruned", ctx)
    assert (facts["decoder_layers"], facts["encoder_layers"]) == (3, 0)
    with without_layers(whole, {"decoder": REMOVED}):
        expected = translations(whole, manifest)
    assert translations(loaded(tmp_path / "pruned"), manifest) == expected != said
    assert translations(whole, manifest) == said


def test_its_layers_are_compared_by_what_they_change(folder: Path, tiny_manifest: Path, ctx: Context) -> None:
    found = similarities(loaded(folder), Manifest.load(tiny_manifest), ctx)
    assert {stack: len(one.means()["influence"]) for stack, one in found.items()} == {"decoder": 5}


def test_its_layers_are_searched(folder: Path, tiny_manifest: Path) -> None:
    manifest, model = Manifest.load(tiny_manifest), loaded(folder)
    found = translations_without_each(
        model, manifest, {"decoder": [1], "encoder": []}, {"decoder": [3], "encoder": []}, batch_size=4,
        max_new_tokens=6,
    )  # fmt: skip
    with without_layers(model, {"decoder": REMOVED}):
        expected = translations(model, manifest)
    assert list(found) == [("decoder", 3, expected)]


def test_search_of_both_stacks_searches_those_that_it_has(
    folder: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    stage = Importance(scope="both", metric="loss", max_new_tokens=4, dtype="float32")
    data = Artifact(Kind.MANIFEST, tiny_manifest, "data")
    facts = stage.run({"model": Artifact(Kind.MODEL, folder, "ear"), "data": data}, tmp_path, ctx)
    assert facts["layers"] == {"decoder": 5}
    assert facts["stack"] == "decoder"


def test_layers_of_a_stack_it_lacks_cannot_be_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    with pytest.raises(ConfigError, match=r"model\.path.*encoder"):
        compose_jobs(check_arguments([f"model.path={folder}", "prune.scope=both"]))
    compose_jobs(check_arguments([f"model.path={folder}", "prune.ratio=0.4"]))


def test_forecast_of_its_size(folder: Path, inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    Prune(dtype="float32").run(inputs, tmp_path, ctx)
    layout = Layout.of_folder(folder).pruned(RemovalCounts({"decoder": 5}, {"decoder": 2}))
    assert layout.counts.parameters == size_of(tmp_path).parameters


def test_it_is_fine_tuned(inputs: dict[str, Artifact], tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    stage = Finetune.model_validate({
        "method": "full", "parts": ["projector", "decoder"], "epochs": 1, "batch_size": 4, "learning_rate": 1e-3,
        "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0, "beta2": 0.999, "max_grad_norm": 1.0,
        "label_smoothing": 0.0, "precision": "float32", "seed": 0,
    })  # fmt: skip
    tuned = {name: inputs[name] for name in ("model", "train")}
    stage.run(tuned, tmp_path, ctx)
    manifest = Manifest.load(tiny_manifest)
    assert translations(loaded(tmp_path), manifest) != translations(loaded(inputs["model"].path), manifest)

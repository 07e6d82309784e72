"""Teacher forcing: the loss, and how much each layer changes its input."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from stc.data.manifest import Manifest
from stc.models.load_and_save import Translator, load
from stc.pipeline.stage import Context
from stc.training.examples import Examples
from stc.training.teacher_forcing import TeacherForcing, similarities


@pytest.fixture(scope="module")
def translator(planted_model: Path) -> Translator:
    return load(planted_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    return Manifest.load(tiny_manifest)


def test_loss_is_the_same_encoded_once_or_each_time(translator: Translator, manifest: Manifest, ctx: Context) -> None:
    encoded_each_time = TeacherForcing(translator, manifest, ctx, encode_once=False).loss()
    translator.model.requires_grad_(False)
    assert TeacherForcing(translator, manifest, ctx).loss() == pytest.approx(encoded_each_time, rel=1e-5)


def test_similarity_is_that_of_the_model_s_own_hidden_states(
    translator: Translator, manifest: Manifest, ctx: Context
) -> None:
    """The decoder is compared with transformers' forward pass over each utterance alone, without padding."""
    found = similarities(translator, manifest, ctx)
    influence, angles = [], []
    examples = Examples(translator, manifest, ctx, encode_once=False)
    for batch in (examples.batch([index]) for index in range(len(manifest))):
        with torch.no_grad():
            embeds = translator.architecture.embed(
                translator.model,
                batch.inputs["input_ids"],
                translator.architecture.encode_audio(translator.model, batch.inputs),
            )
            out = translator.model.get_decoder()(inputs_embeds=embeds, output_hidden_states=True, use_cache=False)
        states = torch.stack(out.hidden_states[:-1]).double()[:, 0]  # the last one is behind the final norm
        influence.append(1 - cosine_similarity(states[:-1], states[1:], dim=-1))
        at = slice(int((batch.labels[0] >= 0).nonzero()[0, 0]) - 1, -1)
        angles.append(torch.arccos(cosine_similarity(states[1, at], states[4, at], dim=-1)) / torch.pi)
    means = found["decoder"].means()
    assert means["influence"][:5] == pytest.approx(torch.cat(influence, dim=1).mean(1).tolist(), rel=1e-4, abs=1e-7)
    assert means["angular"][1][2] == pytest.approx(float(torch.cat(angles).mean()), rel=1e-4)


def test_similarity_does_not_depend_on_how_utterances_are_batched(
    translator: Translator, manifest: Manifest, ctx: Context
) -> None:
    means = []
    for size in (1, 8):
        found = similarities(translator, manifest, replace(ctx, train_micro_batch=size))
        means.append({stack: one.means() for stack, one in found.items()})
    for stack in ("decoder", "encoder"):
        assert means[0][stack]["influence"] == pytest.approx(means[1][stack]["influence"], rel=1e-4, abs=1e-7)
        for alone, together in zip(means[0][stack]["angular"], means[1][stack]["angular"], strict=True):
            assert alone == pytest.approx(together, rel=1e-4, abs=1e-6)


def test_a_layer_that_passes_on_what_it_is_given_has_no_influence_at_all(
    translator: Translator, manifest: Manifest, ctx: Context
) -> None:
    found = similarities(translator, manifest, ctx)
    for stack, layer in (("decoder", 3), ("encoder", 2)):
        means = found[stack].means()
        assert means["influence"][layer] == means["angular"][layer][0] == 0
        assert sum(value == 0 for value in means["influence"]) == 1
    assert [len(row) for row in found["decoder"].means()["angular"]] == [6, 5, 4, 3, 2, 1]

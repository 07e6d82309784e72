"""Features are the output of the encoder, and stages that read them give the texts and scores of the audio itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding import features as features_module
from stc.decoding.features import FeatureReader, features_of
from stc.decoding.greedy import decode, embed_prompts
from stc.distillation import cached_logits as top_k
from stc.errors import InputError
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import Translator, load, save
from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.stages.features import Features
from stc.stages.logits import Logits
from stc.stages.translate import Translate
from stc.store.artifact import Artifact, Kind

STAGE = Features(dtype="float32")
SEARCH = Importance(metric="chrf", dtype="float32", max_new_tokens=12)


@pytest.fixture
def model(tiny_model: Path) -> Artifact:
    return Artifact(Kind.MODEL, tiny_model, "model")


@pytest.fixture
def data(tiny_manifest: Path) -> Artifact:
    return Artifact(Kind.MANIFEST, tiny_manifest, "data")


@pytest.fixture
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


def make(model: Artifact, data: Artifact, out: Path, ctx: Context) -> Artifact:
    out.mkdir()
    return Artifact(Kind.FEATURES, out, "features", STAGE.run({"model": model, "data": data}, out, ctx))


def test_embeddings_and_texts_are_those_of_the_audio_to_the_last_bit(
    model: Artifact, data: Artifact, translator: Translator, passes: list[int], tmp_path: Path, ctx: Context
) -> None:
    features = features_of(make(model, data, tmp_path / "out", ctx), model, translator, STAGE)
    manifest = Manifest.load(data.path)
    encoded = embed_prompts(translator, manifest, batch_size=ctx.decode_batch)
    passes.clear()
    read = embed_prompts(translator, manifest, batch_size=ctx.decode_batch, features=features)
    assert passes == []
    for one, other in zip(encoded, read, strict=True):
        assert torch.equal(one, other)
    settings = {"batch_size": 8, "max_new_tokens": 16}
    assert decode(translator, encoded, **settings) == decode(translator, read, **settings)


def test_prompts_are_those_of_the_processor(
    model: Artifact, data: Artifact, translator: Translator, tmp_path: Path, ctx: Context
) -> None:
    features = FeatureReader(make(model, data, tmp_path / "out", ctx).path)
    manifest = Manifest.load(data.path)
    collator = Collator.of(translator, manifest.task)
    audio = read_batch(manifest, manifest.rows, collator.sampling_rate, 1)
    expected, _ = collator.process([row.id for row in manifest.rows], audio)
    found = features.prompts(collator, [row.sha256 for row in manifest.rows])
    assert len({len(prompt) for prompt in found}) == len(manifest)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_texts_do_not_depend_on_what_was_encoded_together(
    model: Artifact, data: Artifact, translator: Translator, tmp_path: Path, ctx: Context
) -> None:
    made = make(model, data, tmp_path / "out", replace(ctx, decode_batch=3))
    features = features_of(made, model, translator, STAGE)
    manifest = Manifest.load(data.path)
    encoded = embed_prompts(translator, manifest, batch_size=8)
    read = embed_prompts(translator, manifest, batch_size=5, features=features)
    for one, other in zip(encoded, read, strict=True):
        torch.testing.assert_close(one, other)
    settings = {"batch_size": 8, "max_new_tokens": 16}
    assert decode(translator, encoded, **settings) == decode(translator, read, **settings)


def test_equal_recordings_are_encoded_once_and_files_stay_small(
    model: Artifact,
    tiny_manifest: Path,
    passes: list[int],
    tmp_path: Path,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Manifest.load(tiny_manifest)
    folder = tmp_path / "twice"
    folder.mkdir()
    (folder / "audio").symlink_to(tiny_manifest / "audio")
    again = [row.model_copy(update={"id": f"{row.id}.kd"}) for row in whole.rows]
    Manifest(folder, whole.task, whole.rows + again).save()
    monkeypatch.setattr(features_module, "SHARD_BYTES", 10_000)
    made = make(model, Artifact(Kind.MANIFEST, folder, "twice"), tmp_path / "out", ctx)
    assert passes == [4, 4]
    assert made.facts["recordings"] == len(whole)
    files = list(made.path.glob("*.safetensors"))
    assert len(files) > 1
    encoded = FeatureReader(made.path).encoded([row.sha256 for row in reversed(whole.rows)], "cpu")
    assert len(encoded.states) == int(encoded.counts.sum()) == made.facts["positions"]


@pytest.mark.parametrize("metric", ["chrf", "loss"])
def test_a_search_gives_the_same_ranking_without_the_encoder(
    metric: str, model: Artifact, data: Artifact, passes: list[int], tmp_path: Path, ctx: Context
) -> None:
    features = make(model, data, tmp_path / "features", ctx)
    rankings = []
    for name, inputs in (("encoded", {}), ("read", {"features": features})):
        (tmp_path / name).mkdir()
        (tmp_path / f"scratch-{name}").mkdir()
        passes.clear()
        context = replace(ctx, scratch=tmp_path / f"scratch-{name}")
        search = SEARCH.model_copy(update={"metric": metric})
        search.run({"model": model, "data": data, **inputs}, tmp_path / name, context)
        rankings.append(json.loads((tmp_path / name / "ranking.json").read_text()))
        assert bool(passes) == (name == "encoded")
    assert rankings[0] == rankings[1]
    assert len({candidate["score"] for candidate in rankings[0]["candidates"]}) > 1


def test_candidates_with_a_pruned_encoder_encode_the_audio(
    planted_model: Path, data: Artifact, passes: list[int], tmp_path: Path, ctx: Context
) -> None:
    planted = Artifact(Kind.MODEL, planted_model, "planted")
    features = make(planted, data, tmp_path / "features", ctx)
    search = SEARCH.model_copy(update={"scope": "both"})
    rankings = []
    for name, inputs in (("encoded", {}), ("read", {"features": features})):
        (tmp_path / name).mkdir()
        (tmp_path / f"scratch-{name}").mkdir()
        context = replace(ctx, scratch=tmp_path / f"scratch-{name}")
        passes.clear()
        search.run({"model": planted, "data": data, **inputs}, tmp_path / name, context)
        rankings.append((json.loads((tmp_path / name / "ranking.json").read_text()), len(passes)))
    (encoded, all_passes), (read, fewer) = rankings
    assert encoded == read
    assert fewer == all_passes - 2  # the decoder's candidates share two batches


def test_logits_are_those_of_the_audio(
    model: Artifact, data: Artifact, passes: list[int], tmp_path: Path, ctx: Context
) -> None:
    features = make(model, data, tmp_path / "features", ctx)
    stage = Logits(dtype="float32", top_k=8, temperature=1.0)
    passes.clear()
    found = []
    for name, inputs in (("read", {"features": features}), ("encoded", {})):
        assert passes == []
        (tmp_path / name).mkdir()
        stage.run({"model": model, "data": data, **inputs}, tmp_path / name, ctx)
        found.append(top_k.read(tmp_path / name))
    assert passes != []
    for read, encoded in zip(*found, strict=True):
        assert torch.equal(read.tokens, encoded.tokens)
        torch.testing.assert_close(read.rest, encoded.rest)


@pytest.mark.parametrize("decoding", [{}, {"method": "beam", "beams": 2}], ids=["greedy", "beam"])
def test_translations_are_those_of_the_audio(
    decoding: Mapping[str, Any], model: Artifact, data: Artifact, passes: list[int], tmp_path: Path, ctx: Context
) -> None:
    features = make(model, data, tmp_path / "features", ctx)
    stage = Translate.model_validate({"dtype": "float32", "max_new_tokens": 12, "decoding": decoding})
    passes.clear()
    texts = []
    for name, inputs in (("read", {"features": features}), ("encoded", {})):
        assert passes == []
        (tmp_path / name).mkdir()
        stage.run({"model": model, "data": data, **inputs}, tmp_path / name, ctx)
        texts.append((tmp_path / name / "hypotheses.txt").read_text())
    assert passes != []
    assert texts[0] == texts[1]
    assert len(set(texts[0].splitlines())) > 1


def test_a_model_with_the_same_encoder_shares_them_and_one_with_another_is_refused(
    planted_model: Path, data: Artifact, tmp_path: Path, ctx: Context
) -> None:
    model = Artifact(Kind.MODEL, planted_model, "planted")
    made = make(model, data, tmp_path / "out", ctx)
    for name in ("decoder", "encoder"):
        pruned = load(model.path, device="cpu", dtype="float32")
        drop_layers(pruned, name, [1])
        save(pruned, tmp_path / name)
    other = Artifact(Kind.MODEL, tmp_path / "decoder", "pruned")
    assert features_of(made, other, load(other.path, device="cpu", dtype="float32"), STAGE) is not None
    other = Artifact(Kind.MODEL, tmp_path / "encoder", "pruned too")
    with pytest.raises(InputError, match=r"features of another encoder than that of .*encoder: leave them out"):
        features_of(made, other, load(other.path, device="cpu", dtype="float32"), STAGE)


def test_features_computed_with_other_settings_are_refused(
    model: Artifact, data: Artifact, translator: Translator, tmp_path: Path, ctx: Context
) -> None:
    made = make(model, data, tmp_path / "out", ctx)
    for field, value in (("dtype", "bfloat16"), ("attention", "eager")):
        with pytest.raises(InputError, match=f"{field}=.*; {field}={value} is needed"):
            features_of(made, model, translator, STAGE.model_copy(update={field: value}))


def test_a_recording_without_features_is_named(
    model: Artifact, data: Artifact, translator: Translator, tmp_path: Path, ctx: Context
) -> None:
    whole = Manifest.load(data.path)
    folder = tmp_path / "part"
    folder.mkdir()
    (folder / "audio").symlink_to(data.path / "audio")
    Manifest(folder, whole.task, whole.rows[:6]).save()
    made = make(model, Artifact(Kind.MANIFEST, folder, "part"), tmp_path / "out", ctx)
    features = features_of(made, model, translator, STAGE)
    with pytest.raises(
        InputError, match=r"lacks 2 of the 8 utterances of .*, the first is 'utterance-6' \(audio/6\.wav\)"
    ):
        embed_prompts(translator, whole, batch_size=4, features=features)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"features\.json is missing"):
        FeatureReader(tmp_path)

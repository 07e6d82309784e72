"""A model that stc's own engines do not support is decoded as transformers decodes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.models.layer_removal import check_cache, drop_layers
from stc.models.load_and_save import Translator, load, save
from stc.pipeline.stage import Context
from stc.pruning.search.losses import losses_without_each
from stc.pruning.search.translations import translations_without_each
from stc.verification import plain_transformers as plain

SLIDING = {
    "use_sliding_window": True,
    "sliding_window": 8,
    "layer_types": ["full_attention"] * 3 + ["sliding_attention"] * 3,
}
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}
NEW_TOKENS = 6


def changed(model: Path, out: Path, changes: dict[str, Any]) -> Path:
    folder = Path(shutil.copytree(model, out))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def loaded(folder: Path) -> Translator:
    return load(folder, device="cpu", dtype="float32")


def by_transformers(folder: Path, manifest: Manifest) -> list[str]:
    conversation = loaded(folder).architecture.conversation(manifest.task)
    request = {
        "threads": 1,
        "dtype": "float32",
        "attention": "sdpa",
        "device": "cpu",
        "max_new_tokens": NEW_TOKENS,
        "conversation": conversation,
        "chat_template": None,
        "audio": [str(path) for path in manifest.audio_paths()],
    }
    return plain.translations(str(folder), None, request)


def own(translator: Translator, manifest: Manifest) -> list[str]:
    return translate(translator, manifest, batch_size=3, max_new_tokens=NEW_TOKENS)


@pytest.mark.parametrize("changes", [SLIDING, DYNAMIC], ids=["sliding", "dynamic"])
def test_texts_are_those_of_transformers(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    manifest = Manifest.load(tiny_manifest)
    folder = changed(tiny_model, tmp_path / "model", changes)
    assert own(loaded(folder), manifest) == by_transformers(folder, manifest)


def test_a_window_is_seen_in_the_texts(tiny_model: Path, tiny_manifest: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(tiny_manifest)
    assert own(loaded(changed(tiny_model, tmp_path / "model", SLIDING)), manifest) != own(loaded(tiny_model), manifest)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, ""),
        (SLIDING, "sliding_attention"),
        ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2, "layer_types": None}, "sliding"),
        ({"use_sliding_window": False, "sliding_window": 8}, ""),
        (DYNAMIC, "dynamic"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
        ({"attn_logit_softcapping": 30.0}, "softcapping"),
        ({"dual_chunk_attention_config": {"chunk_size": 8}}, "dual_chunk"),
    ],
)
def test_what_the_engines_do_not_compute_is_known_by_the_config(
    tiny_model: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    found = loaded(changed(tiny_model, tmp_path / "model", changes)).unsupported_by_engines
    assert (named in found) if named else not found


def test_a_search_scores_each_candidate_as_the_model_without_it(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    manifest = Manifest(manifest.folder, manifest.task, manifest.rows[:3])
    folder = changed(tiny_model, tmp_path / "model", SLIDING)
    removed, candidates = {"decoder": [1], "encoder": []}, {"decoder": [3], "encoder": []}
    searched = loaded(folder)
    ((_, _, texts),) = translations_without_each(
        searched, manifest, removed, candidates, batch_size=2, max_new_tokens=NEW_TOKENS
    )
    ((_, _, loss),) = losses_without_each(searched, manifest, removed, candidates, batch_size=2)
    pruned = loaded(folder)
    drop_layers(pruned, "decoder", {1, 3})
    check_cache(pruned)
    save(pruned, tmp_path / "pruned")
    from stc.training.teacher_forcing import TeacherForcing

    assert texts == by_transformers(tmp_path / "pruned", manifest)
    assert loss == pytest.approx(TeacherForcing(loaded(tmp_path / "pruned"), manifest, ctx).loss(), rel=1e-5)

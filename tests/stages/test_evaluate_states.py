"""What an encoder made of the test recordings serves the next evaluation, if its encoder has the same weights."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from stc.errors import InputError
from stc.pipeline import model_cache
from stc.pipeline.stage import Context
from stc.stages.evaluate import Evaluate
from stc.stages.features import Features
from stc.store.artifact import Artifact, Kind

STAGE = Evaluate(metrics=["chrf"], dtype="float32", max_new_tokens=8, witnessed=0)


@pytest.fixture
def data(tiny_manifest: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the manifest, whose audio a test may remove."""
    model_cache.clear()
    yield Path(shutil.copytree(tiny_manifest, tmp_path / "data"))
    model_cache.clear()


def with_changed(model: Path, folder: Path, weight: str) -> Path:
    """Return a copy of a model in which the values of the weights with this in their name are another."""
    shutil.copytree(model, folder)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        assert any(weight in name for name in tensors)
        changed = {name: 1.5 * tensor if weight in name else tensor for name, tensor in tensors.items()}
        save_file(changed, file, metadata={"format": "pt"})
    return folder


def texts(model: Path, data: Path, out: Path, ctx: Context) -> str:
    out.mkdir()
    STAGE.run({"model": Artifact(Kind.MODEL, model, "m"), "data": Artifact(Kind.MANIFEST, data, "d")}, out, ctx)
    return (out / "hypotheses.txt").read_text(encoding="utf-8")


def test_system_with_the_same_encoder_needs_no_audio_and_says_the_same(
    tiny_model: Path, data: Path, tmp_path: Path, ctx: Context
) -> None:
    other = with_changed(tiny_model, tmp_path / "other", "layers.1.mlp.down_proj")
    alone = texts(other, data, tmp_path / "alone", ctx)
    model_cache.clear()
    assert texts(tiny_model, data, tmp_path / "first", ctx) != alone
    shutil.rmtree(data / "audio")
    assert texts(other, data, tmp_path / "second", ctx) == alone


def test_system_with_another_encoder_hears_the_audio(
    tiny_model: Path, data: Path, tmp_path: Path, ctx: Context
) -> None:
    other = with_changed(tiny_model, tmp_path / "other", "audio_tower.layers.0.fc1")
    texts(tiny_model, data, tmp_path / "first", ctx)
    shutil.rmtree(data / "audio")
    with pytest.raises(InputError, match="audio"):
        texts(other, data, tmp_path / "second", ctx)


def test_states_are_forgotten_before_a_stage_that_does_not_use_them(
    tiny_model: Path, data: Path, tmp_path: Path, ctx: Context
) -> None:
    texts(tiny_model, data, tmp_path / "first", ctx)
    shutil.rmtree(data / "audio")
    model_cache.clear_before(STAGE)
    texts(tiny_model, data, tmp_path / "second", ctx)
    model_cache.clear_before(Features(dtype="float32"))
    with pytest.raises(InputError, match="audio"):
        texts(tiny_model, data, tmp_path / "third", ctx)


def test_recordings_beyond_what_may_be_remembered_are_encoded_again(
    tiny_model: Path, data: Path, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.decoding.features.MOST_REMEMBERED", 10_000)
    first = texts(tiny_model, data, tmp_path / "first", ctx)
    assert texts(tiny_model, data, tmp_path / "second", ctx) == first
    shutil.rmtree(data / "audio")
    with pytest.raises(InputError, match="audio"):
        texts(tiny_model, data, tmp_path / "third", ctx)

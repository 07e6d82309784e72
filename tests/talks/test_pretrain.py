"""pretrain gives a complete model folder, and the model has learnt."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stc.models.folder import count_parameters
from stc.models.load_and_save import load
from stc.pipeline.stage import Context
from stc.store.artifact import Artifact, Kind
from talks.stages.pretrain import Pretrain

SETTINGS: dict[str, Any] = {
    "steps": 24,
    "vocab_size": 320,
    "window_seconds": 2,
    "mel_bins": 40,
    "encoder": {"width": 32, "layers": 1, "heads": 2, "ffn": 64},
    "decoder": {"width": 32, "layers": 3, "heads": 2, "ffn": 64},
    "spelling": {"weight": 1.0, "share": 0.3, "later": 0.3},
    "max_new_tokens": 8,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_steps": 4,
    "weight_decay": 0.05,
    "beta2": 0.98,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.05,
    "precision": "bfloat16-mixed",
    "seed": 0,
}


@pytest.fixture(scope="module")
def inputs(tiny_manifest: Path) -> dict[str, dict[str, Artifact]]:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    return {"train": {"de": manifest}, "dev": {"de": manifest}}


@pytest.fixture(scope="module")
def few_steps(
    inputs: dict[str, dict[str, Artifact]], module_ctx: Context, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Mapping[str, Any]]:
    """The folder and the facts of a model that has hardly been trained."""
    return run({"steps": 5}, {"train": inputs["train"]}, tmp_path_factory.mktemp("pretrain") / "few", module_ctx)


def run(
    changes: dict[str, Any], inputs: dict[str, dict[str, Artifact]], out: Path, ctx: Context
) -> tuple[Path, Mapping[str, Any]]:
    out.mkdir()
    return out, Pretrain(**SETTINGS | changes).run(inputs, out, ctx)


def test_a_model_is_made_and_learns(
    inputs: dict[str, dict[str, Artifact]], few_steps: tuple[Path, Mapping[str, Any]], tmp_path: Path, ctx: Context
) -> None:
    out, facts = run({}, inputs, tmp_path / "out", ctx)
    assert facts["train_loss"] < 0.7 * few_steps[1]["train_loss"]
    assert facts["parameters"] == count_parameters(out).parameters
    assert facts["dev_chrf"].keys() == {"de"}
    model = load(out, device="cpu", dtype="float32").model
    assert len(model.get_decoder().layers) == 3
    assert not any("classes" in name for name in model.state_dict())


def test_the_same_seed_gives_the_same_model(
    inputs: dict[str, dict[str, Artifact]], few_steps: tuple[Path, Mapping[str, Any]], tmp_path: Path, ctx: Context
) -> None:
    again = run({"steps": 5}, {"train": inputs["train"]}, tmp_path / "again", ctx)
    assert again[1] == few_steps[1]
    one, two = ((folder / "model.safetensors").read_bytes() for folder, _ in (few_steps, again))
    assert one == two


@pytest.mark.gpu
def test_it_trains_on_a_gpu(inputs: dict[str, dict[str, Artifact]], tmp_path: Path, ctx: Context) -> None:
    (tmp_path / "out").mkdir()
    facts = Pretrain(**SETTINGS).run(inputs, tmp_path / "out", replace(ctx, device="cuda"))
    assert facts["train_loss"] < 4.0

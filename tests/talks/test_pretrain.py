"""A base trained from scratch is a whole model folder, and has learnt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stc.models.checkpoint import load
from stc.models.counting import count_parameters
from stc.pipeline.stage import Context
from stc.store.artifact import Artifact, Kind
from talks.stages.pretrain import Pretrain

SETTINGS: dict[str, Any] = {
    "steps": 40,
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


@pytest.fixture
def inputs(tiny_manifest: Path) -> dict[str, dict[str, Artifact]]:
    manifest = Artifact(Kind.MANIFEST, tiny_manifest, "manifest")
    return {"train": {"de": manifest}, "dev": {"de": manifest}}


def test_a_model_is_made_and_learns(inputs: dict[str, dict[str, Artifact]], tmp_path: Path, ctx: Context) -> None:
    first, last = (tmp_path / name for name in ("first", "last"))
    first.mkdir()
    last.mkdir()
    barely = Pretrain(**SETTINGS | {"steps": 5}).run(inputs, first, ctx)
    facts = Pretrain(**SETTINGS).run(inputs, last, ctx)
    assert facts["train_loss"] < 0.7 * barely["train_loss"]
    assert facts["parameters"] == count_parameters(last).parameters
    assert facts["dev_chrf"].keys() == {"de"}
    model = load(last, device="cpu", dtype="float32").model
    assert len(model.get_decoder().layers) == 3
    assert not any("classes" in name for name in model.state_dict())


def test_the_same_seed_gives_the_same_model(
    inputs: dict[str, dict[str, Artifact]], tmp_path: Path, ctx: Context
) -> None:
    settings = SETTINGS | {"steps": 5}
    facts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        facts.append(Pretrain(**settings).run({"train": inputs["train"]}, tmp_path / name, ctx))
    assert facts[0] == facts[1]
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.gpu
def test_it_trains_on_a_gpu(inputs: dict[str, dict[str, Artifact]], tmp_path: Path, ctx: Context) -> None:
    (tmp_path / "out").mkdir()
    facts = Pretrain(**SETTINGS).run(inputs, tmp_path / "out", replace(ctx, device="cuda"))
    assert facts["train_loss"] < 4.0

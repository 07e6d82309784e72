"""With ``store.keep=final``, jobs of one command share what they have in common, and leave their final models only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import Command, stages_begun

SPLITS = {"train": 3, "dev": 1, "selection": 1, "test": 1}


@pytest.fixture
def arguments(tiny_model: Path, tmp_path: Path) -> list[str]:
    """A run that prunes two layers and heals what is left for a step, in a store of its own."""
    random = np.random.default_rng(1)
    for split, count in SPLITS.items():
        lines = []
        for number in range(count):
            name = f"{split}{number}.wav"
            soundfile.write(tmp_path / name, 0.2 * random.standard_normal(8_000), 16_000)
            lines.append(json.dumps({"audio": name, "en": f"{split} {number}", "de": f"{split}, Satz {number}"}))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    recipes = [f"{recipe}.{key}" for recipe in ("teacher", "finetune") for key in ("epochs=1", "warmup_steps=0")]
    return [
        *recipes, f"model.path={tiny_model}", "model.max_new_tokens=4", f"data.path={tmp_path}",
        "data.columns={audio: audio, source: en, target: de}", "prune=middle", "pipeline.outputs=[disjoint,heal]",
        "tracking=none", f"store.dir={tmp_path}/store", "store.keep=final", f"hydra.run.dir={tmp_path}/out",
        f"hydra.sweep.dir={tmp_path}/sweep", "teacher.seed=0", "prune.ratio=0.3333",
    ]  # fmt: skip


def ended(arguments: list[str]) -> list[str]:
    """Run a command to its good end, and return the stages it made."""
    run = Command("stc.run", *arguments)
    assert run.wait() == 0, run.stderr
    return stages_begun(run.stderr)


def left(home: Path) -> list[str]:
    """Return the names of the stages whose weights are in the store."""
    records = [json.loads(file.read_text()) for file in home.glob("store/*/*/stc.record.json")]
    return sorted(one["name"] for one in records if one["kind"] in ("model", "features", "logits", "adapter"))


def test_jobs_of_a_sweep_share_also_what_follows_from_the_choice_of_layers(
    arguments: list[str], tmp_path: Path
) -> None:
    made = ended([*arguments, "-m", "quant=nf4,int8", "pipeline.outputs=[disjoint,quantize]"])
    assert [made.count(stage) for stage in ("teacher", "prune", "heal", "quantize")] == [1, 1, 1, 2]
    assert left(tmp_path) == ["quantize", "quantize"]


def test_seeds_share_what_does_not_depend_on_them(arguments: list[str], tmp_path: Path) -> None:
    made = ended([*arguments, "seeds=[0,1]"])
    assert [made.count(stage) for stage in ("teacher", "prune", "heal")] == [1, 1, 2]
    assert left(tmp_path) == ["heal", "heal"]

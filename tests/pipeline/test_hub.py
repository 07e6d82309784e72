"""A model of the hub on a machine without network, as a compute node is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stc.system.paths import ROOT

FAMILIES = {"owner/model": "qwen2_audio", "owner/other": "whisper"}

FETCH = """
import json, sys
from stc.models import read_config
from stc.pipeline.graph import Hub
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = str(Hub(name).fetch(read_config))
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
json.dump(found, sys.stdout)
"""


def snapshot(home: Path, name: str) -> Path:
    return home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / ("0" * 40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with as much of two models as their configs say."""
    home = tmp_path_factory.mktemp("hub")
    for name, family in FAMILIES.items():
        folder = snapshot(home, name)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        (folder.parents[1] / "refs").mkdir()
        (folder.parents[1] / "refs" / "main").write_text("0" * 40)
    return home


@pytest.fixture(scope="module")
def fetched(home: Path) -> dict[str, str]:
    """What a process without network gets for each model: its folder, or the error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", FETCH, *FAMILIES, "owner/absent"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


def test_model_in_the_cache_needs_no_network(fetched: dict[str, str], home: Path) -> None:
    assert fetched["owner/model"] == str(snapshot(home, "owner/model"))


def test_model_of_another_family_is_refused_by_its_config_alone(fetched: dict[str, str]) -> None:
    assert fetched["owner/other"].startswith("ModelError: model_type 'whisper' is not handled")


def test_model_that_is_not_there_is_told_with_the_command(fetched: dict[str, str]) -> None:
    assert fetched["owner/absent"].startswith("InputError: owner/absent: not in this machine's cache")
    assert "hf download owner/absent" in fetched["owner/absent"]

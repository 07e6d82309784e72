"""A model of the hub on a machine without network, as a compute node is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from stc.system.paths import ROOT

FETCH = (
    "from stc.models import read_config; from stc.pipeline.graph import Hub;print(Hub('owner/name').fetch(read_config))"
)


def fetch(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    return subprocess.run([sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True)


def cached(home: Path, model_type: str) -> Path:
    """A model in the cache, with as much as its config says."""
    model = home / "hub" / "models--owner--name"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("0" * 40) / "config.json").write_text(json.dumps({"model_type": model_type}))
    return model / "snapshots" / ("0" * 40)


def test_model_in_the_cache_needs_no_network(tmp_path: Path) -> None:
    folder = cached(tmp_path, "qwen2_audio")
    assert fetch(tmp_path).stdout.strip() == str(folder)


def test_model_of_another_family_is_refused_by_its_config_alone(tmp_path: Path) -> None:
    cached(tmp_path, "whisper")
    assert "ModelError: model_type 'whisper' is not handled" in fetch(tmp_path).stderr


def test_model_that_is_not_there_is_told_with_the_command(tmp_path: Path) -> None:
    answer = fetch(tmp_path)
    assert "InputError: owner/name: not in this machine's cache" in answer.stderr
    assert "hf download owner/name" in answer.stderr

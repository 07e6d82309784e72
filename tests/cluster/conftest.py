"""A SLURM for the tests of this folder, and sweeps as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm as cluster
import soundfile
from results_in_progress import Held, held

from stc.system.paths import ROOT

COLUMNS = "data.columns={audio: audio, source: en, target: de}"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Slurm]:
    """A SLURM of one machine, with two GPUs as far as SLURM knows."""
    if missing := cluster.missing():
        pytest.skip(f"SLURM is not installed ({', '.join(missing)}): apt-get install {cluster.PACKAGES}")
    with cluster.running(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Data in ``good``, with an audio file missing in ``bad``, and other data in ``slow``."""
    for name in ("good", "bad", "slow"):
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "dev"):
            soundfile.write(folder / f"{split}.wav", [0.1] * 8000, 16_000)
            (folder / f"{split}.jsonl").write_text(f'{{"audio": "{split}.wav", "en": "{name} {split}", "de": "x"}}\n')
    (tmp_path / "bad" / "train.wav").unlink()
    return tmp_path


@pytest.fixture
def slow_dev(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """The dev split of ``slow``, whole or cut, is being made by somebody else until it is released."""
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    arguments = [f"data.path={home}/slow", COLUMNS, "tracking=none", "pipeline.outputs=[train,dev]"]
    with held(home / "store", ["-m", *arguments, "data.limit=null,1,2"], "dev") as leases:
        yield leases


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """``start(argument, …, environment=…)``: a sweep in ``home``, whose folder is ``home/sweep``; what is still running
    at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "stc.run", "-m", COLUMNS,
            f"store.dir={home}/store", f"hydra.sweep.dir={home}/sweep", "tracking=none", *arguments,
        ]  # fmt: skip
        where = {**(environment or os.environ), "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=home, env=where, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()

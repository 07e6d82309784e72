"""``plan=true`` as a process: it tells everything, loads nothing and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stc.run import main
from stc.system.paths import ROOT

LIGHT = """
import runpy, sys
sys.argv = ["stc.run", *sys.argv[1:]]
try:
    runpy.run_module("stc.run", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
heavy = {"torch", "transformers", "mlflow", "datasets", "bitsandbytes"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def planned(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", LIGHT, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_plan_of_a_sweep_shares_what_is_equal_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = planned(tmp_path, "-m", "plan=true", "prune.ratio=0.25,0.5", "lang=de,zh")
    assert (done.returncode, done.stderr) == (0, "")
    jobs = re.split(r"^job \d: ", done.stdout, flags=re.MULTILINE)[1:]
    assert [job.splitlines()[0] for job in jobs] == [
        f"prune.ratio={ratio} lang={lang}" for ratio in ("0.25", "0.5") for lang in ("de", "zh")
    ]
    assert re.search(r"^  importance\.1–4 +run +importance ", jobs[0], flags=re.MULTILINE)
    assert re.search(r"^  importance\.5–8 +run +importance ", jobs[3], flags=re.MULTILINE)
    assert "shared with job 1: train, dev," in jobs[3]
    counts = re.search(r"^stages: (\d+) to run, (\d+) shared, 0 cached$", done.stdout, flags=re.MULTILINE)
    assert counts is not None
    rounds, others = 4, 27  # a job's nodes besides the rounds and the base
    assert sum(map(int, counts.groups())) == 2 * (rounds + others) + 2 * (2 * rounds + others)
    assert list(tmp_path.iterdir()) == []


def test_fault_in_the_config_is_told_as_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stc.run", "plan=true", "prune.ratio=0.3", "lang=fr"])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "lang=fr" in said.err
    assert "prune.ratio=0.3" in said.err

"""The command line as a process: what answers at once does, and a fault is told without a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stc.config.hydra_arguments import groups
from stc.pipeline.stage_by_name import stage_names
from stc.run import main
from stc.system.paths import ROOT

WITHOUT_TORCH = """
import runpy, sys
sys.argv = ["stc.run", *sys.argv[1:]]
code = 0
try:
    runpy.run_module("stc.run", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
heavy = [name for name in ("torch", "transformers", "mlflow", "datasets") if name in sys.modules]
assert not heavy, heavy
sys.exit(code)
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


FAULTS = ["prune.ratio=5", "prune.ration=0.5", "lang=fr", "nonsense=1"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--cfg", "job"], 0), (FAULTS, 2), (["model.path=/no/such/folder"], 2)],
    ids=["help", "cfg", "faults", "no model"],
)
def test_answer_that_needs_no_model_comes_without_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    answer = python("-c", WITHOUT_TORCH, *arguments, cwd=tmp_path)
    assert (answer.returncode, "Traceback" in answer.stderr) == (code, False), answer.stderr


def test_stage_modules_and_the_schema_come_without_torch(tmp_path: Path) -> None:
    imports = "; ".join(f"import stc.stages.{name}" for name in stage_names())
    code = (
        f"import sys, stc.config.schema, stc.run; {imports}; assert not {{'torch', 'transformers'}} & set(sys.modules)"
    )
    answer = python("-c", code, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [FAULTS, ["nonsense"], ["stages.heel=1"], ["-m", "lang=de,fr"], ["--cfg", "job", "lang=fr"]],
    ids=["faults", "no assignment", "no stage", "sweep", "cfg"],
)
def test_fault_ends_with_code_2_without_traceback_and_without_output(arguments: list[str], tmp_path: Path) -> None:
    answer = python("-m", "stc.run", *arguments, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("stc: ")
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_fault_is_a_line_of_its_own(tmp_path: Path) -> None:
    answer = python("-m", "stc.run", *FAULTS, cwd=tmp_path)
    lines = [line.strip() for line in answer.stderr.splitlines()]
    assert all(sum(line.startswith(f"{fault}:") for line in lines) == 1 for fault in FAULTS), answer.stderr


def test_help_names_every_group_and_member(tmp_path: Path) -> None:
    answer = python("-m", "stc.run", "--help", cwd=tmp_path)
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line.startswith("  ")}
    for name, members in groups().items():
        assert all(member in lines[name] for member in members)


def test_cfg_prints_what_was_asked_for(tmp_path: Path) -> None:
    answer = python("-m", "stc.run", "--cfg", "job", "lang=zh", "prune.ratio=0.25", cwd=tmp_path)
    assert "code: zh" in answer.stdout
    assert "ratio: 0.25" in answer.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["lang=größe"]])
def test_output_is_whole_whatever_the_locale_s_encoding_is(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", narrow[0])
    monkeypatch.setattr(sys, "stderr", narrow[1])
    monkeypatch.setattr(sys, "argv", ["stc.run", *arguments])
    main()
    said = ""
    for stream in narrow:
        stream.flush()
        said += stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert ("…" if arguments == ["--help"] else "größe") in said

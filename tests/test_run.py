"""The command line as a process: what answers at once does, and a fault is told without a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stc.config.composition import validate_jobs
from stc.config.hydra_arguments import config_groups
from stc.config.override_checks import check_arguments
from stc.errors import ConfigError
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


def answer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The end of ``python -m stc.run`` with these arguments; a traceback if it has imported torch."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


FAULTS = ["prune.ratio=5", "prune.ration=0.5", "lang=fr", "nonsense=1"]


def test_every_fault_is_a_line_of_its_own_and_comes_without_torch(tmp_path: Path) -> None:
    told = answer(tmp_path, *FAULTS)
    assert (told.returncode, told.stdout, "Traceback" in told.stderr) == (2, "", False), told.stderr
    lines = [line.strip() for line in told.stderr.splitlines()]
    assert all(sum(line.startswith(f"{fault}:") for line in lines) == 1 for fault in FAULTS), told.stderr


def test_help_names_every_group_and_member_without_torch(tmp_path: Path) -> None:
    told = answer(tmp_path, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    lines = {line.split()[0]: line for line in told.stdout.splitlines() if line.startswith("  ")}
    for name, members in config_groups().items():
        assert all(member in lines[name] for member in members)


def test_cfg_prints_what_was_asked_for_without_torch(tmp_path: Path) -> None:
    told = answer(tmp_path, "--cfg", "job", "lang=zh", "prune.ratio=0.25")
    assert (told.returncode, "Traceback" in told.stderr) == (0, False), told.stderr
    assert "code: zh" in told.stdout
    assert "ratio: 0.25" in told.stdout


def test_missing_model_is_told_without_torch(tmp_path: Path) -> None:
    told = answer(tmp_path, "model.path=/no/such/folder")
    assert (told.returncode, "Traceback" in told.stderr) == (2, False), told.stderr


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["stages.heel=1"], ["-m", "lang=de,fr"], ["--cfg", "job", "lang=fr"]],
    ids=["no assignment", "no stage", "sweep", "cfg"],
)
def test_fault_ends_with_code_2_and_without_output(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stc.run", *arguments])
    assert main() == 2
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("stc: ")) == ("", True)
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("option", ["-v", "--verbose", "verbose=true"])
def test_verbose_is_an_option_and_a_setting(option: str) -> None:
    (job,) = validate_jobs(check_arguments(["lang=zh", option, "prune=middle"]))[1]
    assert job.plan.config.verbose
    assert job.plan.config.lang.code == "zh"


def test_a_faulty_value_of_verbose_is_refused_beside_the_option() -> None:
    with pytest.raises(ConfigError, match="banana"):
        validate_jobs(check_arguments(["-v", "verbose=banana"]))

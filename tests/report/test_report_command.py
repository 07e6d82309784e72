"""``python -m stc.report``."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stc.report.__main__ import main, parse_options
from stc.system.paths import ROOT

HEAVY = {"torch", "transformers", "mlflow", "datasets", "soundfile", "scipy", "bitsandbytes", "matplotlib", "pandas"}


def run_fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.argv = ['x', *{list(arguments)!r}]; from stc.report.__main__ import main\n"
        f"try: code = main()\nexcept SystemExit as end: code = end.code\n"
        f"loaded = {HEAVY!r} & set(sys.modules)\nassert not loaded, loaded\nsys.exit(code)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_and_tables_import_no_heavy_library(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, prune="greedy", finetune="full")
    helped = run_fresh("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "python -m stc.report" in helped.stdout
    shown = run_fresh(str(sweep.folder), "--pivot", "prune", "finetune")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "greedy" in shown.stdout


@pytest.mark.parametrize(
    ("form", "start"),
    [("terminal", "German, 100"), ("markdown", "# "), ("csv", "language,"), ("latex", "\\documentclass")],
)
def test_report_is_printed_in_the_requested_format(
    form: str, start: str, sweep: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8})
    assert main([str(sweep.folder), "--format", form]) == 0
    assert capsys.readouterr().out.startswith(start)


def test_csv_of_a_pivot_has_its_cells(sweep: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, prune="greedy", finetune="full")
    assert main([str(sweep.folder), "--pivot", "prune", "finetune", "--format", "csv"]) == 0
    head, cell = capsys.readouterr().out.splitlines()
    assert head.startswith("table,row,column,")
    assert cell.startswith("German,greedy,full,")


def test_out_writes_files_and_still_prints(sweep: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8})
    assert main([str(sweep.folder), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "pruned-nf4" in printed.out
    for file in (tmp_path / "out").iterdir():
        assert file.name in printed.err


def test_sweep_without_any_result_exits_with_1(sweep: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.ask({"prune": "random"})
    assert main([str(sweep.folder)]) == 1
    assert "1 of 1 jobs without a result" in capsys.readouterr().out


def test_user_error_is_shown_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith(f"stc: {tmp_path / 'nowhere'} is not a folder")


def test_pivot_needs_rows_and_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--pivot", "prune"])
    assert "ROWS COLUMNS [VALUE]" in capsys.readouterr().err


def test_out_that_cannot_be_written_to_is_named(sweep: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8})
    (tmp_path / "file").write_text("")
    assert main([str(sweep.folder), "--out", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'} cannot be written to" in capsys.readouterr().err


def test_documented_commands_are_accepted() -> None:
    lines = (ROOT / "docs/analysis.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python -m stc.report")]
    assert len(commands) >= 3
    for command in commands:
        parse_options(shlex.split(command)[3:])

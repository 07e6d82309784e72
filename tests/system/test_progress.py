"""Progress as lines where there is no terminal, and defaults in the help that are those in use."""

from __future__ import annotations

import argparse

import pytest

from stc.system.console import PROGRESS, add_compute_options, follow
from stc.system.machine import DECODE_BATCH


def test_progress_is_a_line_on_standard_error_where_that_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PROGRESS, "handlers", [])
    monkeypatch.setattr(PROGRESS, "level", 20)
    follow()
    follow()
    PROGRESS.info("training: step 10 of 20")
    assert capsys.readouterr().err == "training: step 10 of 20\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    PROGRESS.info("training: step 20 of 20")
    assert capsys.readouterr().err == ""


def test_help_names_the_batch_sizes_in_use() -> None:
    parser = argparse.ArgumentParser()
    add_compute_options(parser)
    told = " ".join(parser.format_help().split())
    assert f"{DECODE_BATCH['cuda']} on a GPU, {DECODE_BATCH['cpu']} on the CPU" in told

"""Progress as lines where there is no terminal, and defaults in the help that are those in use."""

from __future__ import annotations

import argparse
import logging
import time

import pytest

from stc.system.console import PROGRESS, add_compute_options, progress, run_command, show_progress_lines
from stc.system.machine import DECODE_BATCH


def test_progress_is_a_line_on_standard_error_where_that_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PROGRESS, "handlers", [])
    monkeypatch.setattr(PROGRESS, "level", 20)
    show_progress_lines()
    show_progress_lines()
    PROGRESS.info("training: step 10 of 20")
    assert capsys.readouterr().err == "training: step 10 of 20\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    PROGRESS.info("training: step 20 of 20")
    assert capsys.readouterr().err == ""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_long_work_is_told_now_and_then_and_short_work_never(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, PROGRESS.name)
    with progress("translating", total=2_000, unit="utterance") as bar:
        for _ in range(25):
            clock[0] += 4.0
            bar.update(50)
    assert len(caplog.messages) == 3  # of 100 seconds
    assert caplog.messages[0] == "translating: 400 of 2,000 utterances, 0:02:08 left"
    caplog.clear()
    with progress("translating", total=4, unit="utterance") as bar:
        clock[0] += 20.0
        bar.update(4)
    assert caplog.messages == []


def test_what_was_done_before_says_nothing_of_the_pace(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, PROGRESS.name)
    with progress("heal", total=1_000, unit="step") as bar:
        bar.update(900)
        clock[0] += 40.0
        bar.update(20, "loss 1.5")
    assert caplog.messages == ["heal: 920 of 1,000 steps, loss 1.5, 0:02:40 left"]


def test_every_command_tells_how_far_it_is(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROGRESS, "handlers", [])

    def work() -> int:
        with progress("verifying", total=100, unit="B") as bar:
            clock[0] += 60.0
            bar.update(30)
        return 0

    assert run_command(work) == 0
    assert capsys.readouterr().err == "verifying: 30 of 100 B\n"


def test_help_names_the_batch_sizes_in_use() -> None:
    parser = argparse.ArgumentParser()
    add_compute_options(parser)
    told = " ".join(parser.format_help().split())
    assert f"{DECODE_BATCH['cuda']} on a GPU, {DECODE_BATCH['cpu']} on the CPU" in told

"""Several processes share a stage's work: their results arrive, and when one fails, all end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import at_work
import psutil
import pytest

from stc.errors import InputError, StcError
from stc.pipeline.stage import Context, Progress
from stc.workers import launch


@pytest.fixture
def two(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(launch, "REPORT_SECONDS", 0.5)
    return replace(ctx, processes=2)


def left(scratch: Path) -> list[int]:
    """Return the processes that still run."""
    return [pid for file in scratch.glob("*.pid") if psutil.pid_exists(pid := int(file.read_text() or 0))]


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_metrics_progress_and_logs_arrive(two: Context, caplog: pytest.LogCaptureFixture) -> None:
    logged: list[Any] = []
    shown: list[Any] = []

    class Bar:
        def update(self, n: int = 1, note: str = "") -> None:
            shown.append(n)

    @contextmanager
    def progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
        shown.append((title, total, unit))
        yield Bar()
        shown.append("end")

    ctx = replace(two, log=lambda metrics, step=None: logged.append((metrics, step)), progress=progress)
    given = []
    for rank, item in at_work.Work().run_shares({}, {"items": list("abcde")}, ctx):
        given.append((rank, item))
        if rank == 0:
            shown.append(item)
    assert sorted(given) == [(0, "a"), (0, "c"), (0, "e"), (1, "b"), (1, "d")]
    assert logged == [({"processes": 2.0}, 1)]  # by the first process alone
    assert shown == [("working", 1, "it"), "a", "c", "e", 1, "end"]  # each thing when it came
    assert caplog.messages == ["all say this"]
    assert not left(two.scratch)


def test_a_single_process_works_without_torchrun(ctx: Context) -> None:
    assert list(at_work.Work().run_shares({}, {"items": ["a", "b"]}, ctx)) == [[0, "a"], [0, "b"]]


def test_an_error_of_one_process_is_raised_in_its_own_words(two: Context) -> None:
    with pytest.raises(InputError) as raised:
        list(at_work.Work(how="wrongly").run_shares({}, {"items": []}, two))
    assert str(raised.value) == "talk.wav: no audio file"
    assert not left(two.scratch)


def test_a_fault_of_stc_keeps_its_traceback(two: Context) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)process 2 of 2 failed.*_faultily.*ZeroDivisionError"):
        list(at_work.Work(how="faultily").run_shares({}, {"items": []}, two))


def test_the_error_of_a_killed_process_names_the_signal_and_what_helps(two: Context) -> None:
    with pytest.raises(StcError, match=r"work: process 2 of 2 was killed by signal 9.*resources\.processes=1"):
        list(at_work.Work(how="mortally").run_shares({}, {"items": []}, two))
    assert not left(two.scratch)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_workers_do_not_outlive_the_process_that_started_them(signum: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import at_work; at_work.run('endlessly', {str(tmp_path)!r})"]
    process = subprocess.Popen(command, start_new_session=True)
    until(lambda: all((tmp_path / f"{rank}.at_work").exists() for rank in (0, 1)))
    process.send_signal(signum)
    process.wait(30)
    until(lambda: not left(tmp_path))
    # Told to stop, the first one ends in order, as a training has to for its last checkpoint.
    stopped = {file.name for file in tmp_path.glob("*.stopped")}
    assert stopped == ({"0.stopped"} if signum == signal.SIGTERM else set())

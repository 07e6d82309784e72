"""Which GPU a process takes. No GPU is needed: what is taken is a name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stc.errors import InputError
from stc.system import gpu
from stc.system.gpu import visible_gpus

TAKE = """
import sys
from stc.system.gpu import reserve_gpus
print(*reserve_gpus(sys.argv[1:]), *reserve_gpus(sys.argv[1:]), flush=True)
input()
"""


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    """Of two GPUs that no other process of this machine means."""
    return [f"{tmp_path}/{number}" for number in range(2)]


@pytest.fixture
def take(names: list[str]) -> Iterator[Callable[[], tuple[str, subprocess.Popen[str]]]]:
    """``take()``: the number of the GPU that a process has taken, and the process, which keeps it."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-c", TAKE, *names]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        first, again = process.stdout.readline().split()
        assert first == again
        return first.rsplit("/", 1)[1], process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_each_process_takes_a_gpu_that_no_other_has(take: Callable[[], tuple[str, subprocess.Popen[str]]]) -> None:
    assert [take()[0] for _ in range(5)] == ["0", "1", "0", "1", "0"]


def test_gpu_of_a_killed_process_is_free(take: Callable[[], tuple[str, subprocess.Popen[str]]]) -> None:
    _, first = take()
    assert take()[0] == "1"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert take()[0] == "0"


@pytest.mark.parametrize(
    ("asked", "seen"), [(None, ["0", "1", "2"]), ("2, 0", ["2", "0"]), ("", []), ("-1", []), ("1,-1,2", ["1"])]
)
def test_gpus_are_those_that_cuda_would_see(
    asked: str | None, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / f"nvidia{index}" for index in range(3)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible_gpus() == seen


def test_gpus_that_are_named_and_not_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert visible_gpus() == []


def test_device_hides_every_gpu_but_the_one_taken(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from stc.system.machine import resolve_device

    monkeypatch.setattr(gpu, "reserved", {})
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / "nvidia0", folder / "nvidia1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    assert resolve_device("auto") == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == names[0]
    assert resolve_device("auto") == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == names[0]


def test_a_run_of_several_processes_takes_a_gpu_for_each_and_is_refused_more(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stc.system.machine import resolve_device

    monkeypatch.setattr(gpu, "reserved", {})
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / "nvidia0", folder / "nvidia1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    with pytest.raises(InputError, match=r"resources\.processes=3: .*1 to 2 is allowed"):
        resolve_device("auto", 3)
    assert resolve_device("auto", 2) == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(names)
    assert resolve_device("cpu", 3) == "cpu"

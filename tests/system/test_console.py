"""What a command sets for the libraries that it will import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stc.system.console import prepare_libraries

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITING:
        monkeypatch.setenv(name, "")  # so that it is as before when the test has ended
        monkeypatch.delenv(name)


def test_waiting_threads_do_not_keep_a_core_for_long() -> None:
    prepare_libraries()
    assert int(os.environ["GOMP_SPINCOUNT"]) < 100_000


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "7")])
def test_what_the_user_says_of_waiting_threads_stands(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    prepare_libraries()
    assert {key: os.environ.get(key) for key in WAITING if os.environ.get(key)} == {name: value}


def test_no_torch_is_imported_before_threads_are_told_how_to_wait() -> None:
    code = "import stc.run, stc.system.console, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

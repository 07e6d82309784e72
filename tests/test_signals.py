"""SIGTERM and SIGINT become an exception, once, and wait while a run is being ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from stc.signals import Killed, killable


def test_signal_names_itself_in_the_exception() -> None:
    with pytest.raises(Killed, match="SIGTERM") as caught, killable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.signum == signal.SIGTERM


def send(signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)


def test_repeated_signal_does_not_interrupt_the_cleaning_up() -> None:
    events: list[str] = []

    def work() -> None:
        try:
            send(signal.SIGTERM)
            events.append("worked on")
        finally:
            send(signal.SIGTERM)
            events.append("cleaned up")

    with pytest.raises(Killed), killable():
        work()
    assert events == ["cleaned up"]


def test_held_signal_is_raised_after_the_block() -> None:
    events: list[str] = []

    def work(hold: Callable[[], None]) -> None:
        hold()
        send(signal.SIGINT)
        events.append("ended the run")

    with pytest.raises(Killed), killable() as hold:
        work(hold)
    assert events == ["ended the run"]

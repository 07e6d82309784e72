"""SIGTERM and SIGINT become an exception, once, and wait while a run is being ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from stc.system.signals import Killed, killable


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


def test_schedulers_signal_waits_for_the_work_to_end_where_somebody_handles_it() -> None:
    handled: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda signum, frame: handled.append(signum))
    try:
        with pytest.raises(Killed) as caught, killable():
            send(signal.SIGUSR2)
        assert (caught.value.signum, handled) == (signal.SIGUSR2, [])
        send(signal.SIGUSR2)
        assert handled == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_signal_that_nobody_handles_is_left_as_it_is() -> None:
    with killable():
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

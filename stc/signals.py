"""SIGTERM and SIGINT as an exception, so that what was begun is ended in an orderly way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SAME_REQUEST_SECONDS = 5.0  # schedulers send SIGTERM more than once, and impatient people press twice


class Killed(KeyboardInterrupt):
    """SIGTERM or SIGINT arrived. By convention the process then exits with ``128 + signum``."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"killed by {signal.Signals(signum).name}")


@contextmanager
def killable() -> Iterator[Callable[[], None]]:
    """Raise :class:`Killed` in the main thread when SIGTERM or SIGINT arrives; previous handlers are put back.

    Yields a function ``hold()``: signals that arrive after it only wait, and the first of them is raised at the
    end if the block ends well. Signals within a few seconds of the first count as the same request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # Python lets only the main thread set handlers
        return
    holding = False
    last = float("-inf")
    held: list[int] = []

    def hold() -> None:
        nonlocal holding
        holding = True

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal last
        if holding or time.monotonic() - last < _SAME_REQUEST_SECONDS:
            held.append(signum)
            return
        last = time.monotonic()
        raise Killed(signum)

    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield hold
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
    if held:
        raise Killed(held[0])

"""Turn SIGTERM and SIGINT into an exception, so that work in progress is ended in an orderly way.

A scheduler's signal, USR1 or USR2, is treated the same if a handler for it is installed. What that handler does can
wait until the work has ended (:mod:`stc.jobs.slurm`).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SAME_REQUEST_SECONDS = 5.0  # schedulers send SIGTERM more than once, and impatient people press Ctrl-C twice

_depth = 0  # number of nested killable blocks
_last = float("-inf")  # when the last signal arrived


class Killed(KeyboardInterrupt):
    """A signal to end the process arrived. By convention the process then exits with ``128 + signum``."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"killed by {signal.Signals(signum).name}")

    def __reduce__(self) -> tuple[type[Killed], tuple[int]]:
        return Killed, (self.signum,)  # a launcher's worker sends it to the process that waits


@contextmanager
def killable(first: Callable[[], object] = lambda: None) -> Iterator[Callable[[], None]]:
    """Raise :class:`Killed` in the main thread when a signal arrives inside the block.

    Yields a function ``hold()``. Signals that arrive after a call of it wait, and the first of them is raised when the
    block has ended. Signals within a few seconds of the first count as the same request, also in an outer block.

    Args:
        first: called before the exception is raised, for what cannot wait until other code has handled it.
    """
    global _depth, _last
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # Python lets only the main thread set handlers
        return
    holding = False
    if _depth == 0:
        _last = float("-inf")
    held: list[int] = []

    def hold() -> None:
        nonlocal holding
        holding = True

    def handle(signum: int, frame: FrameType | None) -> None:
        global _last
        if holding or time.monotonic() - _last < _SAME_REQUEST_SECONDS:
            held.append(signum)
            return
        _last = time.monotonic()
        first()
        raise Killed(signum)

    handled = [one for one in (signal.SIGUSR1, signal.SIGUSR2) if callable(signal.getsignal(one))]
    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGTERM, signal.SIGINT, *handled)}
    _depth += 1
    try:
        yield hold
    finally:
        _depth -= 1
        for signum, handler in previous.items():
            signal.signal(signum, handler)
    if held:
        raise Killed(held[0])

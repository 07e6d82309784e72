"""Processes, told apart for good."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class Process:
    """A process, told apart from any that gets its number later. ``started`` is in seconds since 1970."""

    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    started: float

    @classmethod
    def this(cls) -> Process:
        import psutil

        process = psutil.Process()
        return cls(socket.gethostname(), process.pid, process.create_time())

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it is still there; of one on another machine that is taken for granted."""
        import psutil

        if not self.here:
            return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 2  # seconds: a number is not given again that fast
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (ValueError, psutil.NoSuchProcess):
            return False
        except psutil.Error:
            return True  # there, and not ours to look at

"""Identify a process, on this machine or another, and find out whether it is alive."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class Process:
    """A process. ``started`` (seconds since 1970) tells it apart from a later process with the same number."""

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
        """Return whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Return whether it is still running. A process on another machine is assumed to be."""
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

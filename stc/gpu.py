"""Which GPU of the machine a process uses: one that no other run has taken.

A stage uses one device. So that runs side by side, of a sweep or started by hand, do not all meet on the first GPU,
each takes one and hides the others from itself. What is taken is a name in Linux's abstract socket namespace: one
process at a time can have it, whoever's it is, and it is free again when that process is gone, however it ended.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Sequence
from pathlib import Path

_taken: tuple[str, socket.socket] | None = None  # by this process, until it ends


def visible() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there are none."""
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None or not count:
        return [str(index) for index in range(count)]
    names = (name.strip() for name in asked.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # CUDA, too, stops there


def take(names: Sequence[str]) -> str:
    """Take one of ``names`` for as long as this process lives, and return it: the first that nobody has, or, where all
    are taken, the first that the fewest share. A process that has one of them keeps it."""
    global _taken
    if _taken is None or _taken[0] not in names:
        _taken = next(one for place in itertools.count() for name in names if (one := _place(name, place)))
    return _taken[0]


def _place(name: str, place: int) -> tuple[str, socket.socket] | None:
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0stc gpu {name} {place}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return name, holder

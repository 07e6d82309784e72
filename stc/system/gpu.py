"""Which GPU of the machine a process uses: one that no other run has taken.

A stage uses one device, unless it shares out its work over several processes (:mod:`stc.workers`). So that runs side
by side, of a sweep or started by hand, do not all meet on the first GPU, each takes one, or one for each of its
processes, and hides the others from itself. What is taken is a name in Linux's abstract socket namespace: one process
at a time can have it, whoever's it is, and it is free again when that process is gone, however it ended.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Sequence
from pathlib import Path

_taken: dict[str, socket.socket] = {}  # by this process, until it ends


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there are none."""
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None or not count:
        return [str(index) for index in range(count)]
    names = (name.strip() for name in asked.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # CUDA, too, stops there


def reserve_gpus(names: Sequence[str], count: int = 1) -> list[str]:
    """Take ``count`` of ``names`` for as long as this process lives, and return them: the first that nobody has, or,
    where all are taken, the first that the fewest share. What a process has of them it keeps."""
    while len(held := [name for name in names if name in _taken]) < count:
        left = [name for name in names if name not in _taken]
        name, holder = next((name, one) for place in itertools.count() for name in left if (one := _place(name, place)))
        _taken[name] = holder
    return held[:count]


def _place(name: str, place: int) -> socket.socket | None:
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0stc gpu {name} {place}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return holder

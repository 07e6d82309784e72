"""Reserve GPUs for a process, so that runs side by side do not all use the first one.

A stage uses one device, unless it shares its work among several processes (:mod:`stc.workers`). Each run reserves one
GPU, or one for each of its processes, and hides the others from itself. A reservation is a name in Linux's abstract
socket namespace: only one process at a time can hold it, and it is released when that process ends, however it ends.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Sequence
from pathlib import Path

reserved: dict[str, socket.socket] = {}
"""The GPUs that this process has reserved, until it ends."""


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES gives them."""
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None or not count:
        return [str(index) for index in range(count)]
    names = (name.strip() for name in asked.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # CUDA, too, stops there


def reserve_gpus(names: Sequence[str], count: int = 1) -> list[str]:
    """Reserve ``count`` of the GPUs ``names`` until this process ends, and return them.

    Takes the first that nobody has reserved; if all are reserved, the first of those that the fewest processes share.
    """
    while len(held := [name for name in names if name in reserved]) < count:
        left = [name for name in names if name not in reserved]
        name, holder = next((name, one) for slot in itertools.count() for name in left if (one := _reserve(name, slot)))
        reserved[name] = holder
    return held[:count]


def _reserve(name: str, slot: int) -> socket.socket | None:
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0stc gpu {name} {slot}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return holder

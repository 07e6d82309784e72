"""The process that holds a lease, identified so that it is certain whether it has ended.

:class:`stc.system.process.Process` compares start times in seconds, which move with the machine's clock. That is good
enough to report on a job. A lease must not be taken from a living process, so it compares the ticks of the kernel's
clock, on one boot and in one container.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict


class LeaseContent(TypedDict):
    """The content of lease.json."""

    token: str
    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    started: str | None
    machine: list[str] | None


def this_process() -> dict[str, Any]:
    """Return the content of lease.json for this process, without a token."""
    pid = os.getpid()
    stat = _state_and_start(pid)
    return {"host": socket.gethostname(), "pid": pid, "started": stat and stat[1], "machine": _machine()}


def has_ended(holder: LeaseContent) -> bool:
    """Return whether a holder's process is certain to have ended: it was on this machine, and is not there."""
    if not is_here(holder):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's process
    stat = _state_and_start(holder["pid"])
    return stat is not None and (stat[0] in "ZX" or stat[1] != holder["started"])


def is_here(holder: LeaseContent) -> bool:
    """Return whether a holder's process runs, or ran, on this machine."""
    return holder["machine"] is not None and bool(holder["machine"] == _machine())


@cache
def _machine() -> list[str] | None:
    """Return the scope in which a process id means one process: a host since its boot, and a container on it. None if
    it is not known. Copies of a virtual machine may differ only in the name of the host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return [socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")]
    except OSError:
        return None


def _state_and_start(pid: int) -> tuple[str, str] | None:
    """Return the state of a process, Z or X if it has ended, and its start in ticks of the machine's clock."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None

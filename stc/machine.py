"""The machine and the libraries a measurement was taken with, found without importing torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from stc import __version__
from stc.errors import InputError

LIBRARIES = ("torch", "transformers", "bitsandbytes", "peft")


def versions() -> dict[str, str]:
    """Versions of stc, Python and the libraries a result may depend on; one that is not installed is left out."""
    found = {"stc": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint() -> dict[str, Any]:
    """What speed and peak memory depend on besides the system measured: processor, memory (GiB), GPUs, the thread
    count asked for, and versions. Equal on the same machine from one day to the next."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpus": gpus(),
        "versions": versions(),
    }


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs, in the driver's order; empty where there are none."""
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        names += re.findall(r"^Model:\s*(.+?)\s*$", file.read_text(), flags=re.MULTILINE)
    if names or shutil.which("nvidia-smi") is None:
        return names
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []


def resolve_device(requested: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """The device a run uses: ``auto`` is the GPU where there is one.

    Raises:
        InputError: when cuda is asked for where no NVIDIA device can be seen.
    """
    if requested == "cpu":
        return "cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not hidden and any(Path("/dev").glob("nvidia[0-9]*")):
        return "cuda"
    if requested == "cuda":
        why = "CUDA_VISIBLE_DEVICES hides every GPU" if hidden else "no NVIDIA device is there (/dev/nvidia0)"
        raise InputError(f"device=cuda: {why}; use device=cpu or device=auto")
    return "cpu"


def git_commit() -> tuple[str, bool] | None:
    """The commit stc runs from, and whether the package differs from it; None where stc is no git checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", "__init__.py"):
            return None  # installed inside somebody else's checkout
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_model() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()

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
from stc.system.gpu import reserve_gpus, visible_gpus

_SHARED = re.compile(
    r"(fuse\.)?(nfs|lustre|gpfs|beegfs|ceph|ceph-fuse|glusterfs|pvfs|orangefs|panfs|afs|gfs|ocfs|cifs|smb|smbfs|sshfs|9p"
    r"|s3fs|gcsfuse)\d*"
)
"""Types of file systems that machines share, as they are mounted."""

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


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint() -> dict[str, Any]:
    """What speed and peak memory depend on besides the system measured: processor, memory (GiB), GPUs, the thread
    count asked for, and versions. Equal on the same machine from one day to the next."""
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
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


DECODE_BATCH = {"cpu": 64, "cuda": 256}
"""Utterances translated together, unless a number is given. A GPU reads its weights once for all of them."""


def resolve_device(requested: Literal["auto", "cpu", "cuda"], processes: int = 1) -> Literal["cpu", "cuda"]:
    """The device a run uses: ``auto`` is the GPU where there is one. Of several, one is taken for this process, or one
    for each of its ``processes``, and the others are hidden from it (:mod:`stc.system.gpu`); so this comes before
    anything uses CUDA.

    Raises:
        InputError: when cuda is asked for where no NVIDIA device can be seen, or more processes than there are GPUs.
    """
    if requested == "cpu":
        return "cpu"
    names = visible_gpus()
    if names:
        if processes > len(names):
            raise InputError(
                f"resources.processes={processes}: on GPUs each process has its own, and {len(names)} can be seen "
                f"here (CUDA_VISIBLE_DEVICES, or hydra.launcher.gpus_per_node on SLURM); 1 to {len(names)} is allowed"
            )
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(reserve_gpus(names, processes))
        return "cuda"
    if requested == "cuda":
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        why = "CUDA_VISIBLE_DEVICES hides every GPU" if hidden else "no NVIDIA device is there (/dev/nvidia0)"
        raise InputError(f"device=cuda: {why}; use device=cpu or device=auto")
    return "cpu"


def network_filesystem(path: Path) -> str | None:
    """The type of the file system a path is on, be it there yet or not, if that is one machines share. The root is
    taken for the machine's own, whatever it is called: a sandboxed container has a 9p there."""
    import psutil

    mounted = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    below_root = [folder for folder in (resolved, *resolved.parents) if folder != folder.parent]
    found = next((mounted[folder] for folder in below_root if folder in mounted), "")
    return found if _SHARED.fullmatch(found) else None


def refuse_shared_database(database: Path, key: str) -> None:
    """
    Raises:
        InputError: a SQLite database, named by the setting ``key``, would be on a file system that machines share.
    """
    if shared := network_filesystem(database):
        raise InputError(
            f"{key}: a SQLite database is damaged where several machines write to it, and {database.parent} is on a "
            f"file system that they share ({shared}). Name a file on a disk of this machine, or a server (mlflow "
            "server; tracking.uri=http://HOST:5000), or do without (tracking=none)"
        )


def git_commit() -> tuple[str, bool] | None:
    """The commit stc runs from, and whether the package differs from it; None where stc is no git checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parents[1]
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

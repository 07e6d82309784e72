"""Describe the machine and the libraries that a measurement was taken with, without importing torch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from stc.errors import InputError
from stc.system.gpu import reserve_gpus, visible_gpus
from stc.system.version import VERSION

_SHARED = re.compile(
    r"(fuse\.)?(nfs|lustre|gpfs|beegfs|ceph|ceph-fuse|glusterfs|pvfs|orangefs|panfs|afs|gfs|ocfs|cifs|smb|smbfs|sshfs|9p"
    r"|s3fs|gcsfuse)\d*"
)
"""Types of file systems that machines share, as they are mounted."""

LIBRARIES = ("torch", "transformers", "bitsandbytes", "peft")


def versions() -> dict[str, str]:
    """Return the versions of stc, Python and the installed libraries that a result may depend on."""
    found = {"stc": VERSION, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint() -> dict[str, Any]:
    """Return what speed and peak memory depend on beside the model: processor, memory (GiB), GPUs, threads, versions.

    The same machine gives the same fingerprint every day.
    """
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpus": gpus(),
        "versions": versions(),
    }


def gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs in the driver's order."""
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        names += re.findall(r"^Model:\s*(.+?)\s*$", file.read_text(), flags=re.MULTILINE)
    return names or query_gpus("name")


def query_gpus(field: str) -> list[str]:
    """Return what nvidia-smi says of each GPU, without units; an empty list if it says nothing."""
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


DECODE_BATCH = {"cpu": 64, "cuda": 256}
"""Default number of utterances translated together. A GPU reads its weights once for all of them."""


def resolve_device(requested: Literal["auto", "cpu", "cuda"], processes: int = 1) -> Literal["cpu", "cuda"]:
    """Return the device that a run uses: for ``auto``, a GPU if there is one.

    Reserves a GPU for each of ``processes``, and hides the others from this process (:mod:`stc.system.gpu`). Call it
    before anything uses CUDA.

    Raises:
        InputError: cuda is asked for and no NVIDIA device is visible, or there are fewer GPUs than processes.
    """
    if requested == "cpu":
        return "cpu"
    names = visible_gpus()
    if names:
        if processes > len(names):
            raise InputError(
                f"resources.processes={processes}: each process needs a GPU of its own, and {len(names)} can be seen "
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
    """Return the type of the network file system that a path is on; None for a local one.

    The path need not exist. The root counts as local whatever its type: in a sandboxed container it is a 9p.
    """
    import psutil

    mounted = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    below_root = [folder for folder in (resolved, *resolved.parents) if folder != folder.parent]
    found = next((mounted[folder] for folder in below_root if folder in mounted), "")
    return found if _SHARED.fullmatch(found) else None


def refuse_shared_database(database: Path, key: str) -> None:
    """Refuse a SQLite database on a network file system.

    Args:
        key: the setting that names the database, for the message.

    Raises:
        InputError: the database is, or would be, on a file system that machines share.
    """
    if shared := network_filesystem(database):
        raise InputError(
            f"{key}: {database.parent} is on a network file system ({shared}), and a SQLite database is damaged if "
            "several machines write to it. Name a file on a local disk, or a server (mlflow server; "
            "tracking.uri=http://HOST:5000), or switch tracking off (tracking=none)"
        )


def git_commit() -> tuple[str, bool] | None:
    """Return the commit stc runs from, and whether the package differs from it; None outside a git checkout."""

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

"""What stc asks of SLURM. How jobs get there is submitit's part (``hydra/launcher=slurm``).

A job that SLURM ends before it is done is begun again in the same folder: what it had finished is in the store, and a
training goes on from its checkpoint. It gets to know in three ways that its time here is over:

- USR2, some time before the time limit, as submitit has asked for, or where the cluster sends it at preemption.
  submitit's handler counts how often, and has SLURM queue the job again.
- SIGTERM, and SLURM has queued it again already: preemption, ``scontrol requeue``, a node that is to go down.
- SIGTERM at the start of the grace time that some partitions leave a job that is preempted. A job that ends in it is
  taken to be done, so this one is queued again, too.

In each of them stc first ends in an orderly way (:mod:`stc.system.signals`), and leaves no result behind, since
submitit takes a job that has one to be done. After any other SIGTERM, such as that of scancel, the job is over.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from stc.errors import StcError

_FOLDER = ".submitit"  # of a sweep: a folder for each job, named by its id, as conf/hydra/launcher/slurm.yaml has it


def will_restart(signum: int) -> bool:
    """Whether the job of this process, which ``signum`` has ended, is begun again; if it is to be, SLURM is told so.

    Raises:
        StcError: it should have been, and its time was over once more than hydra.launcher.max_num_timeout allows, or
            SLURM would not.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    if signum == signal.SIGTERM:
        told = _ask("scontrol", "--oneliner", "show", "job", _id()) or ""
        restarts = re.search(r"\bRestarts=(\d+)", told)
        if restarts is not None and int(restarts[1]) > int(os.environ.get("SLURM_RESTART_COUNT", 0)):
            return True
        in_grace = re.search(r"\bJobState=RUNNING\b.*\bPreemptTime=\d", told)
        return in_grace is not None and _queued_again()
    return signum != signal.SIGINT and _queued_again()


def _queued_again() -> bool:
    """Have submitit's handler queue this job; it stands for a signal that no other part of this process handles."""
    from submitit.core.utils import UncompletedJobError

    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        handler = signal.getsignal(signum)
        if callable(handler):
            try:
                handler(signum, None)
            except SystemExit:  # by which it ends a process whose job is in the queue
                return True
            except UncompletedJobError as error:
                raise StcError(f"{error} (hydra.launcher.max_num_timeout)") from None
            except subprocess.SubprocessError as error:
                raise StcError(f"SLURM has not queued the job again: {error}") from None
    return False


def submitted_jobs(sweep: Path) -> list[str]:
    """The ids of the jobs of this sweep that SLURM was given."""
    return sorted(folder.name for folder in (sweep / _FOLDER).glob("[0-9]*"))


def has_queued_jobs(sweep: Path) -> bool:
    """Whether SLURM has a job of this sweep, running or in its queue; also where SLURM does not answer."""
    ids = submitted_jobs(sweep)
    if not ids:
        return False
    told = _ask("squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}")
    return told is None or not set(told.split()).isdisjoint(ids)


def cancel_jobs(sweep: Path) -> None:
    """Tell SLURM to end the jobs of this sweep, and begin no further one."""
    if ids := submitted_jobs(sweep):
        _ask("scancel", "--quiet", *ids)


def _id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _ask(*command: str) -> str | None:
    """What a command of SLURM's answers, None where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None

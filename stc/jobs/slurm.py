"""The questions that stc asks SLURM. submitit brings the jobs there (``hydra/launcher=slurm``).

A job that SLURM ends early begins again in the same folder: its finished results are in the store, and a training goes
on from its checkpoint. SLURM ends it in one of three ways:

- USR2, some time before the time limit, as submitit has asked for, or when the cluster sends it at preemption.
  submitit's handler counts how often, and has SLURM queue the job again.
- SIGTERM, and SLURM has queued it again already: preemption, ``scontrol requeue``, a node that goes down.
- SIGTERM at the start of the grace time that some partitions give a preempted job. SLURM takes a job that ends in it to
  be done, so this one is queued again, too.

In each case stc first ends in order (:mod:`stc.system.signals`), and leaves no result, since submitit takes a job with
a result to be done. After any other SIGTERM, such as that of scancel, the job is over.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from stc.errors import StcError

_FOLDER = ".submitit"  # in the sweep's: a folder for each job, named by its id, as in conf/hydra/launcher/slurm.yaml


def will_restart(signum: int) -> bool:
    """Return whether the job of this process, which ``signum`` has ended, begins again. Have SLURM queue it if needed.

    Raises:
        StcError: it should begin again, and has reached hydra.launcher.max_num_timeout, or SLURM refuses.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    if signum == signal.SIGTERM:
        answer = _ask("scontrol", "--oneliner", "show", "job", _job_id()) or ""
        restarts = re.search(r"\bRestarts=(\d+)", answer)
        if restarts is not None and int(restarts[1]) > int(os.environ.get("SLURM_RESTART_COUNT", 0)):
            return True
        in_grace = re.search(r"\bJobState=RUNNING\b.*\bPreemptTime=\d", answer)
        return in_grace is not None and _queue_again()
    return signum != signal.SIGINT and _queue_again()


def _queue_again() -> bool:
    """Have submitit's signal handler queue this job. Return whether there is such a handler."""
    from submitit.core.utils import UncompletedJobError

    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        handler = signal.getsignal(signum)
        if callable(handler):
            try:
                handler(signum, None)
            except SystemExit:  # the handler ends a process whose job is queued
                return True
            except UncompletedJobError as error:
                raise StcError(f"{error} (hydra.launcher.max_num_timeout)") from None
            except subprocess.SubprocessError as error:
                raise StcError(f"SLURM has not queued the job again: {error}") from None
    return False


def submitted_jobs(sweep: Path) -> list[str]:
    """Return the ids of this sweep's jobs that SLURM was given."""
    return sorted(folder.name for folder in (sweep / _FOLDER).glob("[0-9]*"))


def has_queued_jobs(sweep: Path) -> bool:
    """Return whether SLURM runs or queues a job of this sweep, or does not answer."""
    ids = submitted_jobs(sweep)
    if not ids:
        return False
    answer = _ask("squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}")
    return answer is None or not set(answer.split()).isdisjoint(ids)


def cancel_jobs(sweep: Path) -> None:
    """Have SLURM end the jobs of this sweep, and begin no further one."""
    if ids := submitted_jobs(sweep):
        _ask("scancel", "--quiet", *ids)


def _job_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _ask(*command: str) -> str | None:
    """Return the output of a SLURM command, None if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None

"""The function that Hydra calls for every job, in any process: it runs the job and writes down how that ended."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from stc.errors import ConfigError, StcError, first_line
from stc.jobs.slurm import will_restart
from stc.jobs.status import JobStatus, job_statuses
from stc.system.console import use_utf8_output
from stc.system.durable_files import disk_full
from stc.system.process import Process
from stc.system.signals import Killed, killable

log = logging.getLogger(__name__)


def execute_job(composed: DictConfig) -> int:
    """Run a composed config. In a sweep a failure is not raised, so that the other jobs are run.

    Returns:
        the exit code: 0, 1 (failed, or not begun), 2 (the config is faulty), 128 + signal.

    Raises:
        SystemExit: with that code if it is not 0 and the job is not part of a sweep.
        Killed: when SIGTERM or SIGINT arrives at the process that runs the whole sweep.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from stc.config.job_names import describe_difference, describe_settings, select_assignments
    from stc.jobs.job import run_job
    from stc.jobs.sweep import STOP_FILE, SweepRecord

    use_utf8_output()  # a launcher may have started this process
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    overrides = tuple(hydra.overrides.task)
    if hydra.mode is RunMode.RUN:
        code = _run_recorded(lambda: run_job(composed, folder, also=describe_settings(overrides)), folder, overrides)
        if code:
            sys.exit(code)
        return 0
    sweep = Path(hydra.sweep.dir)
    record = SweepRecord.read(sweep)
    failed = any(one.code for one in job_statuses(sweep).values())
    if (sweep / STOP_FILE).exists() or (failed and composed.fail_fast):
        return 1
    name = describe_difference(overrides, record.swept)
    tags = {"mlflow.parentRunId": record.mlflow_run_id} if record.mlflow_run_id else {}
    shown = [key for key in record.swept if key != "prune"]  # its method is always shown
    params = select_assignments(overrides, shown)
    try:
        return _run_recorded(lambda: run_job(composed, folder, name, params=params, tags=tags), folder, overrides)
    except Killed as killed:
        if record.process == Process.this():
            raise
        return 128 + killed.signum  # a launcher would raise it where it waits, as if the sweep should stop


def _run_recorded(work: Callable[[], object], folder: Path, overrides: tuple[str, ...]) -> int:
    """Do the work, with status.json saying that it runs, and then how it ended."""
    begun = time.monotonic()
    status = JobStatus(state="running", overrides=overrides, process=Process.this())
    status.write(folder)
    end: dict[str, Any] = {"state": "failed", "code": 1}
    try:
        with killable():
            work()
        end = {"state": "finished"}
    except KeyboardInterrupt as interrupt:
        end = _end_of_interrupted(interrupt)
        log.info("%s", end["error"])
        if end["state"] == "queued":
            sys.exit(0)  # without a result, so that whoever waits for one goes on waiting
        raise
    except Exception as error:
        end |= {"error": _report_error(error), "code": 2 if isinstance(error, ConfigError) else 1}
    finally:
        seconds = time.monotonic() - begun
        status.model_copy(update={**end, "seconds": seconds}).write(folder)
    return int(end.get("code", 0))


def _end_of_interrupted(interrupt: KeyboardInterrupt) -> dict[str, Any]:
    """Return how an interrupted job ended. A scheduler may have interrupted it for a while only."""
    signum = interrupt.signum if isinstance(interrupt, Killed) else signal.SIGINT
    error = str(interrupt).removeprefix("killed by ") or "interrupted"
    try:
        if will_restart(signum):
            return {"state": "queued", "error": error}
    except StcError as refused:
        error = str(refused)
    return {"state": "killed", "error": error, "code": 128 + signum}


def _report_error(error: Exception) -> str:
    """Report what stopped a job, with the traceback in its log, and on the console for a bug. Return one line."""
    first = first_line(error)
    if isinstance(error, ConfigError):
        print(format_faults(error), file=sys.stderr)
    elif isinstance(error, StcError):
        print(f"stc: {error}", file=sys.stderr)
    elif disk_full(error):
        print(f"stc: {error}: what was finished is kept in the store", file=sys.stderr)
    else:
        first = f"{type(error).__name__}: {first}"
        log.error("%s", first, exc_info=error)
        return first
    log.info("%s", error, exc_info=error)
    return first


def format_faults(error: ConfigError) -> str:
    """Return the faults of a config, a line each."""
    lines = "\n".join(f"  {fault}" for fault in error.faults)
    return f"stc: {len(error.faults)} fault{'s' * (len(error.faults) > 1)} in the config\n{lines}"

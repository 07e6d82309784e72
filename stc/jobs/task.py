"""What Hydra calls for every job, in whichever process: run it, and write down how that ended."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stc.errors import ConfigError, StcError
from stc.jobs.slurm import will_restart
from stc.jobs.status import JobStatus, job_statuses
from stc.system.console import use_utf8_output
from stc.system.process import Process
from stc.system.signals import Killed, killable

log = logging.getLogger(__name__)


def execute_job(composed: Any) -> int:
    """Run a composed config. In a sweep no failure is raised, so that the other jobs are run.

    Returns:
        the exit code: 0, 1 (failed, or not begun), 2 (the config is at fault), 128 + signal.

    Raises:
        SystemExit: with that code where it is not 0, if the job is no part of a sweep.
        Killed: when SIGTERM or SIGINT arrives at the process that runs the whole.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from stc.config.override_names import describe_difference, describe_settings, select_assignments
    from stc.jobs.job import run_job
    from stc.jobs.sweep import STOP_FILE, SweepRecord

    use_utf8_output()  # a launcher may have started this process
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    overrides = tuple(hydra.overrides.task)
    if hydra.mode is RunMode.RUN:
        code = _recorded(lambda: run_job(composed, folder, also=describe_settings(overrides)), folder, overrides)
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
    params = select_assignments(
        overrides, [key for key in record.swept if key != "prune"]
    )  # its method is always shown
    try:
        return _recorded(lambda: run_job(composed, folder, name, params=params, tags=tags), folder, overrides)
    except Killed as killed:
        if record.process == Process.this():
            raise
        return 128 + killed.signum  # a launcher would raise it where it waits, as if the sweep were to stop


def _recorded(work: Callable[[], object], folder: Path, overrides: tuple[str, ...]) -> int:
    """Do the work while status.json says that it is being done, and then how it ended."""
    begun = time.monotonic()
    outcome = JobStatus(state="running", overrides=overrides, process=Process.this())
    outcome.write(folder)
    end: dict[str, Any] = {"state": "failed", "code": 1}
    try:
        with killable():
            work()
        end = {"state": "finished"}
    except KeyboardInterrupt as interrupt:
        end = _killed(interrupt)
        log.info("%s", end["error"])
        if end["state"] == "queued":
            sys.exit(0)  # without a result, so that whoever waits for one goes on to wait
        raise
    except Exception as error:
        end |= {"error": _told(error), "code": 2 if isinstance(error, ConfigError) else 1}
    finally:
        seconds = time.monotonic() - begun
        outcome.model_copy(update={**end, "seconds": seconds}).write(folder)
    return int(end.get("code", 0))


def _killed(interrupt: KeyboardInterrupt) -> dict[str, Any]:
    """How a job ended that was interrupted; under a scheduler that may be for a while only."""
    signum = interrupt.signum if isinstance(interrupt, Killed) else signal.SIGINT
    error = str(interrupt).removeprefix("killed by ") or "interrupted"
    try:
        if will_restart(signum):
            return {"state": "queued", "error": error}
    except StcError as refused:
        error = str(refused)
    return {"state": "killed", "error": error, "code": 128 + signum}


def _told(error: Exception) -> str:
    """Say what stopped a job, with the traceback in its log, and on the console for a fault of stc; in one line."""
    from stc.system.durable_files import disk_full

    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
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
    """The faults of a config, a line each."""
    lines = "\n".join(f"  {fault}" for fault in error.faults)
    return f"stc: {len(error.faults)} fault{'s' * (len(error.faults) > 1)} in the config\n{lines}"

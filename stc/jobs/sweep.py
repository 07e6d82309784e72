"""A sweep: the jobs of one command, how each ended, and the table at the end.

Hydra runs the jobs, through any launcher. stc does not rely on what Hydra returns: a launcher that loses a worker
raises, and the results of the other jobs are lost. Each job's folder says how it ended (:mod:`stc.jobs.status`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict

from stc.config.hydra_arguments import format_arguments, parse_arguments
from stc.config.job_names import describe_difference
from stc.config.override_checks import expand_jobs
from stc.config.override_values import parse_override, quote
from stc.errors import InputError, StcError
from stc.jobs import slurm
from stc.jobs.status import LOG_FILE, STATUS_FILE, JobStatus, job_statuses
from stc.jobs.summary import JobSummary, format_jobs_table
from stc.store.run_result import RESULT_FILE, Result
from stc.system.durable_files import write_atomically
from stc.system.process import Process
from stc.system.read_files import read_json
from stc.system.signals import Killed, killable
from stc.system.tables import markdown_table
from stc.tracking import TrackedRun, Tracking, close_stale_runs, start_run

SWEEP_FILE = "sweep.json"
TABLE_FILE = "sweep.md"
REPORT_FOLDER = "report"
STOP_FILE = "stop"  # in the folder of a sweep that is being stopped: no further job begins
_POLL_SECONDS = 5.0  # between two questions to SLURM
STOP_SECONDS = 10.0  # a job that is told to stop has this long to do so
_current: Sweep | None = None  # of this process: Hydra makes its callbacks itself, and gives no access to them


class SweepRecord(BaseModel):
    """The content of sweep.json, for the jobs of the sweep, which may run elsewhere.

    Attributes:
        process: the process that started all jobs.
        swept: the keys whose values vary.
        mlflow_run_id: the run in MLflow that is the parent of the runs of the jobs.
    """

    model_config = ConfigDict(frozen=True)

    process: Process
    swept: tuple[str, ...]
    mlflow_run_id: str | None

    @classmethod
    def read(cls, sweep: Path) -> SweepRecord:
        return read_json(sweep / SWEEP_FILE, cls)


@dataclass(frozen=True)
class Sweep:
    """A running sweep.

    Attributes:
        requested: the overrides of each job.
        swept: the keys whose values vary.
        tracked: its run in MLflow.
    """

    folder: Path
    requested: list[list[str]]
    swept: tuple[str, ...]
    fail_fast: bool
    tracking: Tracking
    tracked: TrackedRun

    def jobs(self) -> list[JobSummary]:
        """Return every job in the requested order, and then jobs that the user's own sweeper has added."""
        found = job_statuses(self.folder)
        jobs = []
        for number, overrides in enumerate(self.requested):
            matching = (name for name, one in found.items() if list(one.overrides) == overrides)
            name = next(matching, str(number))
            jobs.append(self._summarize(name, found.pop(name, None), overrides))
        return jobs + [self._summarize(name, one, one.overrides) for name, one in found.items()]

    def _summarize(self, name: str, status: JobStatus | None, overrides: Sequence[str]) -> JobSummary:
        systems: Sequence[Mapping[str, Any]] = []
        if status is not None and status.state == "finished":
            with suppress(FileNotFoundError, InputError):  # the table has a dash for what a result does not say
                systems = read_json(self.folder / name / RESULT_FILE, Result)["systems"]
        return JobSummary(name, describe_difference(overrides, self.swept), status, systems)

    def lost_jobs(self) -> list[tuple[str, list[str]]]:
        """Return the jobs that a broken launcher has lost or never begun: folder and overrides."""
        jobs = self.jobs()
        if self.fail_fast and any(job.failed for job in jobs):
            return []
        requested = zip(jobs, self.requested, strict=False)
        return [(job.folder, overrides) for job, overrides in requested if job.lost]

    def stop(self) -> None:
        """Begin no further job. Stop those that run on SLURM or in other processes of this machine, by force after
        ``STOP_SECONDS``.

        Does not wait for them: a launcher may be waiting, and goes on when they are gone.
        """
        (self.folder / STOP_FILE).touch()
        slurm.cancel_jobs(self.folder)
        self._signal_jobs(signal.SIGTERM)
        force = threading.Timer(STOP_SECONDS, self._signal_jobs, [signal.SIGKILL])
        force.daemon = True
        force.start()

    def _signal_jobs(self, signum: int) -> None:
        for one in self._in_other_processes():
            os.kill(one.process.pid, signum)

    def wait(self, seconds: float = float("inf")) -> None:
        """Wait until no job runs in another process of this machine, and SLURM has none."""
        until = time.monotonic() + seconds
        while ((here := self._in_other_processes()) or slurm.has_queued_jobs(self.folder)) and time.monotonic() < until:
            time.sleep(0.2 if here else _POLL_SECONDS)

    def _in_other_processes(self) -> list[JobStatus]:
        statuses = job_statuses(self.folder).values()
        return [one for one in statuses if one.running and one.process.here and one.process.pid != os.getpid()]


class SweepCallback(Callback):
    """Hydra calls it when a sweep starts, before the first job. For a single run it does nothing."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        global _current
        if _current is not None:
            return  # a launcher has broken, and its remaining jobs are run
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for former in [*folder.rglob(STATUS_FILE), folder / STOP_FILE]:
            former.unlink(missing_ok=True)
        overrides = list(config.hydra.overrides.task)
        swept = tuple(one.key_or_group for one in map(parse_override, overrides) if one.is_sweep_override())
        requested = expand_jobs(["-m", *overrides], GlobalHydra.instance().config_loader())
        tracking = Tracking.model_validate(OmegaConf.to_container(config.tracking, resolve=True))
        name = f"{' × '.join(swept)}: sweep of {len(requested)}"
        try:
            tracked = start_run(tracking, name, {"overrides": overrides, "jobs": requested})
        except StcError as error:
            print(f"stc: {error}", file=sys.stderr)
            raise SystemExit(1) from None  # Hydra makes a warning of any other exception
        record = SweepRecord(process=Process.this(), swept=swept, mlflow_run_id=tracked.id)
        write_atomically(folder / SWEEP_FILE, record.model_dump_json(indent=1) + "\n")
        _current = Sweep(folder, requested, swept, bool(config.fail_fast), tracking, tracked)


def run_sweep(start: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a sweep to its end and print the table of its jobs.

    Args:
        start: has Hydra run a command line.
        arguments: the command line, ``-m`` among them.

    Returns:
        the exit code: 0 if every job has finished, else 1, or 2 if a config was faulty, or 128 + signal.
    """
    global _current
    # stc has composed and validated every job; Hydra would compose each once more before the launcher does.
    BasicSweeper.validate_batch_is_legal = lambda self, batch: None  # type: ignore[method-assign]
    try:
        with killable(_stop) as hold_signals:
            try:
                _run_in_hydra(start, arguments)
                if _current is None:
                    return 1
                _retry_lost_jobs(_current, start, arguments)
            except BaseException:
                hold_signals()
                if _current is not None:
                    _current.stop()
                    _current.wait(2 * STOP_SECONDS)
                    _finish(_current, killed=True)
                raise
            hold_signals()
            return _finish(_current)
    except Killed as killed:
        return 128 + killed.signum
    finally:
        _current = None


def _stop() -> None:
    if _current is not None:
        _current.stop()


def _run_in_hydra(start: Callable[[list[str]], None], arguments: list[str]) -> None:
    try:
        start(arguments)
    except SystemExit:
        if _current is None:
            raise  # Hydra has printed why no job was begun
    except Exception:
        traceback.print_exc()


def _retry_lost_jobs(sweep: Sweep, start: Callable[[list[str]], None], arguments: list[str]) -> None:
    """Run lost jobs once more, one after the other, so that none can harm another: a launcher that loses one worker may
    take the jobs of the others with it. Jobs of SLURM are not run again: somebody may have cancelled them."""
    sweep.wait()
    lost = sweep.lost_jobs()
    if not lost or slurm.submitted_jobs(sweep.folder):
        return
    print(f"stc: {len(lost)} jobs were lost or not begun; each is tried once, by itself", file=sys.stderr)
    options = parse_arguments(arguments)
    of_hydra = [one for one in options.overrides if one.startswith(("hydra.", "hydra/"))]
    kept = [one for one in of_hydra if not one.startswith("hydra.sweep.")]
    for folder, overrides in lost:
        place = [f"hydra.sweep.dir={quote(str(sweep.folder))}", f"hydra.sweep.subdir={quote(folder)}"]
        _run_in_hydra(start, format_arguments(options, [*kept, *overrides, *place]))
        sweep.wait()
        if folder not in job_statuses(sweep.folder):
            return  # this launcher begins no job, or fail_fast prevents it


def _finish(sweep: Sweep, killed: bool = False) -> int:
    """Report how the jobs ended on standard output, in the sweep's folder and in MLflow. Return the exit code."""
    jobs = sweep.jobs()
    file = sweep.folder / TABLE_FILE
    markdown = format_jobs_table(jobs, markdown_table)
    file.write_text(markdown, encoding="utf-8")
    print(f"\n{format_jobs_table(jobs)}\nlogs: {sweep.folder}/JOB/{LOG_FILE}", flush=True)
    finished = all(job.finished for job in jobs)
    if sweep.tracked.id is not None:
        close_stale_runs(sweep.tracking)
        sweep.tracked.set_tags({"mlflow.note.content": markdown})
        sweep.tracked.log_file(file)
        for one in [] if killed else _save_report(sweep.folder):
            sweep.tracked.log_file(one, REPORT_FOLDER)
        sweep.tracked.end("KILLED" if killed else "FINISHED" if finished else "FAILED")
    return 0 if finished else 2 if any(job.status is not None and job.status.code == 2 for job in jobs) else 1


def _save_report(sweep: Path) -> list[Path]:
    """Write the report on the jobs' results in the store. Return its files; none if nothing can be compared."""
    from stc.report.sweep_report import render

    try:
        report = render(sweep)
        return report.save(sweep / REPORT_FOLDER) if report.groups else []
    except StcError as error:
        print(f"stc: no report on the sweep: {error}", file=sys.stderr)
        return []

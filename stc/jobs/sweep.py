"""A sweep: the jobs of one command, what became of each, and the table at the end.

Hydra runs the jobs, through whichever launcher. What it says of them is not relied on: a launcher that loses a worker
raises in place of returning what the other jobs gave. How a job ended is read in its folder (:mod:`stc.jobs.status`).
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

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict

from stc.config.hydra_arguments import format_arguments, parse_arguments
from stc.config.override_names import describe_difference
from stc.errors import InputError, StcError
from stc.jobs import slurm
from stc.jobs.status import LOG_FILE, JobStatus, job_statuses
from stc.jobs.summary import JobSummary, format_markdown, format_table
from stc.store.run_result import RESULT_FILE, Result
from stc.system.process import Process
from stc.system.read_files import read_json
from stc.system.signals import Killed, killable
from stc.tracking import TrackedRun, Tracking, close_stale_runs, start_run

SWEEP_FILE = "sweep.json"
TABLE_FILE = "sweep.md"
REPORT_FOLDER = "report"
STOP_FILE = "stop"  # of a sweep that is being stopped: none of its jobs is begun any more
_POLL_SECONDS = 5.0  # between two questions to SLURM
STOP_SECONDS = 10.0  # a job that is told to stop has this long to do so
_current: Sweep | None = None  # of this process: Hydra makes its callbacks itself, and hands none of them out


class SweepRecord(BaseModel):
    """What the jobs of a sweep, which may run elsewhere, read of it in its folder: the process that started all, the
    keys whose values vary, and the run in MLflow that those of the jobs are below."""

    model_config = ConfigDict(frozen=True)

    process: Process
    swept: tuple[str, ...]
    mlflow_run_id: str | None

    @classmethod
    def read(cls, sweep: Path) -> SweepRecord:
        return read_json(sweep / SWEEP_FILE, cls)


@dataclass(frozen=True)
class Sweep:
    """A sweep that runs in ``folder``: ``asked`` are the overrides of each job, ``swept`` the keys that vary, ``shown``
    its run in MLflow."""

    folder: Path
    asked: list[list[str]]
    swept: tuple[str, ...]
    fail_fast: bool
    tracking: Tracking
    shown: TrackedRun

    def jobs(self) -> list[JobSummary]:
        """Every job, in the order asked for; also such as a sweeper of its own mind has added."""
        found = job_statuses(self.folder)
        jobs = []
        for number, overrides in enumerate(self.asked):
            matching = (name for name, one in found.items() if list(one.overrides) == overrides)
            name = next(matching, str(number))
            jobs.append(self._job(name, found.pop(name, None), overrides))
        return jobs + [self._job(name, one, one.overrides) for name, one in found.items()]

    def _job(self, name: str, outcome: JobStatus | None, overrides: Sequence[str]) -> JobSummary:
        file = self.folder / name / RESULT_FILE
        whole = outcome is not None and outcome.state == "finished"
        systems: Sequence[Mapping[str, Any]] = []
        with suppress(FileNotFoundError, InputError):  # the table has a dash for what a result does not say
            systems = read_json(file, Result)["systems"] if whole else []
        return JobSummary(name, describe_difference(overrides, self.swept), outcome, systems)

    def left(self) -> list[tuple[str, list[str]]]:
        """The jobs that a launcher which broke down has lost or never begun: folder and overrides."""
        jobs = self.jobs()
        if self.fail_fast and any(job.outcome is not None and job.outcome.code for job in jobs):
            return []
        pairs = zip(jobs, self.asked, strict=False)
        return [(job.folder, asked) for job, asked in pairs if job.outcome is None or job.outcome.state == "killed"]

    def stop(self) -> None:
        """Begin no further job, and have those stop that run for SLURM or in other processes of this machine: gently,
        and after a while for good. Does not wait: a launcher may be waiting for them, and goes on when they have gone.
        """
        (self.folder / STOP_FILE).touch()
        slurm.cancel_jobs(self.folder)
        self._send(signal.SIGTERM)
        last = threading.Timer(STOP_SECONDS, self._send, [signal.SIGKILL])
        last.daemon = True
        last.start()

    def _send(self, signum: int) -> None:
        for one in self._elsewhere():
            os.kill(one.process.pid, signum)

    def wait(self, seconds: float = float("inf")) -> None:
        """Until no job runs in another process of this machine, and SLURM has none."""
        until = time.monotonic() + seconds
        while ((here := self._elsewhere()) or slurm.has_queued_jobs(self.folder)) and time.monotonic() < until:
            time.sleep(0.2 if here else _POLL_SECONDS)

    def _elsewhere(self) -> list[JobStatus]:
        found = job_statuses(self.folder).values()
        return [one for one in found if one.running and one.process.here and one.process.pid != os.getpid()]


class SweepCallback(Callback):
    """What Hydra calls when a sweep starts, before its first job; for a single run it does nothing."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from hydra.core.global_hydra import GlobalHydra

        from stc.config.command_line import expand_jobs
        from stc.config.override_values import parse_override
        from stc.jobs.status import STATUS_FILE
        from stc.system.durable_files import write_atomically

        global _current
        if _current is not None:
            return  # a launcher has broken down, and what is left of its jobs is run
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for former in [*folder.rglob(STATUS_FILE), folder / STOP_FILE]:
            former.unlink(missing_ok=True)
        given = list(config.hydra.overrides.task)
        swept = tuple(one.key_or_group for one in map(parse_override, given) if one.is_sweep_override())
        asked = expand_jobs(["-m", *given], GlobalHydra.instance().config_loader())
        tracking = Tracking.model_validate(OmegaConf.to_container(config.tracking, resolve=True))
        try:
            shown = start_run(
                tracking, f"{' × '.join(swept)}: sweep of {len(asked)}", {"overrides": given, "jobs": asked}
            )
        except StcError as error:
            print(f"stc: {error}", file=sys.stderr)
            raise SystemExit(1) from None  # Hydra makes a warning of any other exception
        record = SweepRecord(process=Process.this(), swept=swept, mlflow_run_id=shown.id)
        write_atomically(folder / SWEEP_FILE, record.model_dump_json(indent=1) + "\n")
        _current = Sweep(folder, asked, swept, bool(config.fail_fast), tracking, shown)


def run_sweep(start: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a sweep to its end and print what became of its jobs.

    Args:
        start: has Hydra run what the arguments ask for.
        arguments: those of the command line, ``-m`` among them.

    Returns:
        the exit code: 0 if every job has finished, else 1, or 2 where a config was at fault, or 128 + signal.
    """
    global _current
    try:
        with killable(_stop) as hold:
            try:
                _attempt(start, arguments)
                if _current is None:
                    return 1
                _attempt_the_rest(_current, start, arguments)
            except BaseException:
                hold()
                if _current is not None:
                    _current.stop()
                    _current.wait(2 * STOP_SECONDS)
                    _end(_current, killed=True)
                raise
            hold()
            return _end(_current)
    except Killed as killed:
        return 128 + killed.signum
    finally:
        _current = None


def _stop() -> None:
    if _current is not None:
        _current.stop()


def _attempt(start: Callable[[list[str]], None], arguments: list[str]) -> None:
    try:
        start(arguments)
    except SystemExit:
        if _current is None:
            raise  # Hydra has told why no job was begun
    except Exception:
        traceback.print_exc()


def _attempt_the_rest(sweep: Sweep, start: Callable[[list[str]], None], arguments: list[str]) -> None:
    """A launcher that loses one worker may take the others' jobs with it: each of these is run once more, one after
    the other, so that none can harm another. Of SLURM's none is: somebody may have cancelled it."""
    from stc.config.override_values import quote

    sweep.wait()
    left = sweep.left()
    if not left or slurm.submitted_jobs(sweep.folder):
        return
    print(f"stc: {len(left)} jobs were lost or not begun; each is tried once, by itself", file=sys.stderr)
    given = parse_arguments(arguments)
    own = [
        one for one in given.overrides if one.startswith(("hydra.", "hydra/")) and not one.startswith("hydra.sweep.")
    ]
    for folder, overrides in left:
        place = [f"hydra.sweep.dir={quote(str(sweep.folder))}", f"hydra.sweep.subdir={quote(folder)}"]
        _attempt(start, format_arguments(given, [*own, *overrides, *place]))
        sweep.wait()
        if folder not in job_statuses(sweep.folder):
            return  # this launcher begins nothing; or fail_fast lets it not


def _end(sweep: Sweep, killed: bool = False) -> int:
    """Say how the jobs ended, on standard output, in the sweep's folder and in MLflow; the exit code."""
    jobs = sweep.jobs()
    file = sweep.folder / TABLE_FILE
    file.write_text(format_markdown(jobs), encoding="utf-8")
    print(f"\n{format_table(jobs)}\nlogs: {sweep.folder}/JOB/{LOG_FILE}")
    sys.stdout.flush()
    finished = all(job.finished for job in jobs)
    if sweep.shown.id is not None:
        close_stale_runs(sweep.tracking)
        sweep.shown.set_tags({"mlflow.note.content": file.read_text(encoding="utf-8")})
        sweep.shown.log_file(file)
        for one in [] if killed else _report(sweep.folder):
            sweep.shown.log_file(one, REPORT_FOLDER)
        sweep.shown.end("KILLED" if killed else "FINISHED" if finished else "FAILED")
    return 0 if finished else 2 if any(job.outcome is not None and job.outcome.code == 2 for job in jobs) else 1


def _report(sweep: Path) -> list[Path]:
    """The files of the report on what the jobs have left in the store; none where nothing can be compared."""
    from stc.report.render import render

    try:
        report = render(sweep)
        return report.save(sweep / REPORT_FOLDER) if report.groups else []
    except StcError as error:
        print(f"stc: no report on the sweep: {error}", file=sys.stderr)
        return []

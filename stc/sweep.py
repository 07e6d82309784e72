"""A sweep: the jobs of one command, what became of each, and the table at the end.

Hydra runs the jobs, through whichever launcher. What it says of them is not relied on: a launcher that loses a worker
raises in place of returning what the other jobs gave. How a job ended is read in its folder (:mod:`stc.outcome`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict

from stc import slurm
from stc.outcome import LOG_FILE, Outcome, outcomes
from stc.process import Process
from stc.report import NONE, Column, marked, size, text
from stc.signals import Killed, killable

SWEEP_FILE = "sweep.json"
STOP_FILE = "stop"  # of a sweep that is being stopped: none of its jobs is begun any more
_POLL_SECONDS = 5.0  # between two questions to SLURM
_STOP_SECONDS = 20.0  # a job that is told to stop has this long to do so
_current: Sweep | None = None  # of this process: Hydra makes its callbacks itself, and hands none of them out


class Record(BaseModel):
    """What the jobs of a sweep, which may run elsewhere, read of it in its folder: the process that all was started
    by, and the keys whose values vary."""

    model_config = ConfigDict(frozen=True)

    process: Process
    swept: tuple[str, ...]

    @classmethod
    def read(cls, sweep: Path) -> Record:
        return cls.model_validate_json((sweep / SWEEP_FILE).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Job:
    """A job of the table: its folder below the sweep's, in what it differs from the others, and how it stands."""

    folder: str
    differs: str
    outcome: Outcome | None  # None for one that was not begun
    result: dict[str, Any]

    @property
    def finished(self) -> bool:
        return self.outcome is not None and self.outcome.state == "finished"

    @property
    def main(self) -> dict[str, Any]:
        """The system the job is about, the last of its table; empty where it made none."""
        systems: list[dict[str, Any]] = self.result.get("systems") or [{}]
        return systems[-1]


@dataclass(frozen=True)
class Sweep:
    """A sweep that runs in ``folder``: ``asked`` are the overrides of each job, ``swept`` the keys that vary."""

    folder: Path
    asked: list[list[str]]
    swept: tuple[str, ...]
    fail_fast: bool

    def jobs(self) -> list[Job]:
        """Every job, in the order asked for; also such as a sweeper of its own mind has added."""
        found = outcomes(self.folder)
        jobs = []
        for number, overrides in enumerate(self.asked):
            matching = (name for name, one in found.items() if list(one.overrides) == overrides)
            name = next(matching, str(number))
            jobs.append(self._job(name, found.pop(name, None), overrides))
        return jobs + [self._job(name, one, one.overrides) for name, one in found.items()]

    def _job(self, name: str, outcome: Outcome | None, overrides: Sequence[str]) -> Job:
        from stc.job import RESULT_FILE

        file = self.folder / name / RESULT_FILE
        whole = outcome is not None and outcome.state == "finished" and file.exists()
        result = json.loads(file.read_text(encoding="utf-8")) if whole else {}
        return Job(name, differing(overrides, self.swept), outcome, result)

    def left(self) -> list[tuple[str, list[str]]]:
        """The jobs that a launcher which broke down has lost or never begun: folder and overrides."""
        jobs = self.jobs()
        if self.fail_fast and any(job.outcome is not None and job.outcome.code for job in jobs):
            return []
        pairs = zip(jobs, self.asked, strict=False)
        return [(job.folder, asked) for job, asked in pairs if job.outcome is None or job.outcome.lost]

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Begin no further job, and tell those to stop that run in other processes of this machine or for SLURM."""
        (self.folder / STOP_FILE).touch()
        slurm.cancel(self.folder)
        for one in self._elsewhere():
            os.kill(one.process.pid, signum)

    def wait(self, seconds: float = float("inf")) -> None:
        """Until no job runs in another process of this machine, and SLURM has none."""
        until = time.monotonic() + seconds
        while ((here := self._elsewhere()) or slurm.queued(self.folder)) and time.monotonic() < until:
            time.sleep(0.2 if here else _POLL_SECONDS)

    def _elsewhere(self) -> list[Outcome]:
        found = outcomes(self.folder).values()
        return [one for one in found if one.running and one.process.here and one.process.pid != os.getpid()]


class Start(Callback):
    """What Hydra calls when a sweep starts, before its first job; for a single run it does nothing."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from stc.outcome import STATUS_FILE
        from stc.overrides import jobs
        from stc.store.files import write_atomically

        global _current
        if _current is not None:
            return  # a launcher has broken down, and what is left of its jobs is run
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for former in [*folder.rglob(STATUS_FILE), folder / STOP_FILE]:
            former.unlink(missing_ok=True)
        given = list(config.hydra.overrides.task)
        overrides = OverridesParser.create().parse_overrides(given)
        swept = [one.key_or_group for one in overrides if one.is_sweep_override()]
        record = Record(process=Process.this(), swept=tuple(swept))
        write_atomically(folder / SWEEP_FILE, record.model_dump_json(indent=1) + "\n")
        _current = Sweep(folder, jobs(["-m", *given]), record.swept, bool(config.fail_fast))


def conduct(start: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a sweep to its end and print what became of its jobs.

    Args:
        start: has Hydra run what the arguments ask for.
        arguments: those of the command line, ``-m`` among them.

    Returns:
        the exit code: 0 if every job has finished, else that of the worst.
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
                _stop()
                if _current is not None:
                    for signum in (signal.SIGTERM, signal.SIGKILL):
                        _current.wait(_STOP_SECONDS)
                        _current.stop(signum)
                    _end(_current)
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
    sweep.wait()
    left = sweep.left()
    if not left or slurm.submitted(sweep.folder):
        return
    print(f"stc: {len(left)} jobs were lost or not begun; each is tried once, by itself", file=sys.stderr)
    own = [one for one in arguments if one.startswith(("hydra.", "hydra/")) and not one.startswith("hydra.sweep.")]
    for folder, overrides in left:
        place = [f"hydra.sweep.dir='{sweep.folder}'", f"hydra.sweep.subdir='{folder}'"]
        _attempt(start, ["-m", *own, *overrides, *place])
        sweep.wait()
        if folder not in outcomes(sweep.folder):
            return  # this launcher begins nothing; or fail_fast lets it not


def _end(sweep: Sweep) -> int:
    jobs = sweep.jobs()
    print(f"\n{table(jobs)}\nlogs: {sweep.folder}/JOB/{LOG_FILE}")
    sys.stdout.flush()
    return max((1 if job.outcome is None else job.outcome.code or int(not job.finished) for job in jobs), default=0)


def differing(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """In what a job differs from the others of its sweep, in few words: ``zh 50 % block_influence``."""
    values = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key in swept:
            values[key] = value
    words = [_WORDS[key](values.pop(key)) for key in _WORDS if key in values]
    return " ".join([*words, *(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in values.items())])


def _percent(ratio: str) -> str:
    try:
        return f"{100 * float(ratio):.3g} %"
    except ValueError:
        return ratio


# What says itself without its key, in the order in which one reads it.
_WORDS: dict[str, Callable[[str], str]] = {
    "model": str,
    "lang": str,
    "prune.ratio": _percent,
    "prune": str,
    "prune.method": str,
    "prune.scope": str,
    "quant": str,
    "experiments": str,
    "pipeline": str,
}


def table(jobs: Sequence[Job]) -> str:
    """What became of the jobs, for a terminal. Ends in a newline."""
    return "\n".join([*text(_COLUMNS, [vars(job) | {"job": job} for job in jobs]), "", _counted(jobs)]) + "\n"


def markdown(jobs: Sequence[Job]) -> str:
    """The same in Markdown. Ends in a newline."""
    return "\n".join([*marked(_COLUMNS, [vars(job) | {"job": job} for job in jobs]), "", _counted(jobs)]) + "\n"


def _counted(jobs: Sequence[Job]) -> str:
    finished = sum(job.finished for job in jobs)
    return f"{finished} of {len(jobs)} jobs finished."


def _how(job: Job) -> str:
    if job.outcome is None:
        return "not begun"
    return job.outcome.state + (f": {job.outcome.error}" if job.outcome.error else "")


def _of_main(job: Job, key: str, show: Callable[[float], str]) -> str:
    value = job.main.get(key)
    return NONE if value is None else show(value)


def _seconds(job: Job) -> str:
    return NONE if job.outcome is None or job.outcome.seconds is None else f"{job.outcome.seconds:.0f}"


_COLUMNS = (
    Column(("", "job"), lambda row: row["folder"]),
    Column(("", "differs in"), lambda row: row["differs"] or NONE, left=True),
    Column(("", "system"), lambda row: row["job"].main.get("name", NONE), left=True),
    Column(("", "retention"), lambda row: _of_main(row["job"], "retention", lambda part: f"{100 * part:.1f} %")),
    Column(("bytes", "on disk"), lambda row: _of_main(row["job"], "bytes_on_disk", size)),
    Column(("", "seconds"), lambda row: _seconds(row["job"])),
    Column(("", "outcome"), lambda row: _how(row["job"]), left=True),
)

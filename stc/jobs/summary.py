"""The jobs of a sweep, in what they differ, what became of each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.jobs.status import JobStatus
from stc.system.quantities import format_bytes
from stc.system.tables import NONE, Column, markdown_table, terminal_table


@dataclass(frozen=True)
class JobSummary:
    """A job of the table: its folder below the sweep's, in what it differs from the others, how it stands, and the
    systems of its own table."""

    folder: str
    differs: str
    outcome: JobStatus | None  # None for one that was not begun
    systems: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        return self.outcome is not None and self.outcome.state == "finished"

    @property
    def main(self) -> Mapping[str, Any]:
        """The system the job is about, the last of its table; empty where it made none."""
        return self.systems[-1] if self.systems else {}


def format_table(jobs: Sequence[JobSummary]) -> str:
    """What became of the jobs, for a terminal. Ends in a newline."""
    return "\n".join([*terminal_table(_COLUMNS, [vars(job) | {"job": job} for job in jobs]), "", _counted(jobs)]) + "\n"


def format_markdown(jobs: Sequence[JobSummary]) -> str:
    """The same in Markdown. Ends in a newline."""
    return "\n".join([*markdown_table(_COLUMNS, [vars(job) | {"job": job} for job in jobs]), "", _counted(jobs)]) + "\n"


def _counted(jobs: Sequence[JobSummary]) -> str:
    finished = sum(job.finished for job in jobs)
    return f"{finished} of {len(jobs)} jobs finished."


def _how(job: JobSummary) -> str:
    if job.outcome is None:
        return "not begun"
    return job.outcome.state + (f": {job.outcome.error}" if job.outcome.error else "")


def _of_main(job: JobSummary, key: str, show: Callable[[float], str]) -> str:
    value = job.main.get(key)
    return NONE if value is None else show(value)


def _seconds(job: JobSummary) -> str:
    return NONE if job.outcome is None or job.outcome.seconds is None else f"{job.outcome.seconds:.0f}"


_COLUMNS = (
    Column(("", "job"), lambda row: row["folder"]),
    Column(("", "differs in"), lambda row: row["differs"] or NONE, left=True),
    Column(("", "system"), lambda row: row["job"].main.get("name", NONE), left=True),
    Column(("", "retention"), lambda row: _of_main(row["job"], "retention", lambda part: f"{100 * part:.1f} %")),
    Column(("bytes", "on disk"), lambda row: _of_main(row["job"], "bytes_on_disk", format_bytes)),
    Column(("", "seconds"), lambda row: _seconds(row["job"])),
    Column(("", "outcome"), lambda row: _how(row["job"]), left=True),
)

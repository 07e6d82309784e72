"""The table of the jobs of a sweep: how they differ, and how each ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.jobs.status import JobStatus
from stc.report.comparison import fairness_notes
from stc.system.number_formats import format_bytes
from stc.system.tables import NONE, Column, TableFormat, terminal_table


@dataclass(frozen=True)
class JobSummary:
    """A job of the table.

    Attributes:
        folder: its folder in the sweep's.
        difference: how it differs from the other jobs.
        status: None for a job that was not begun.
        systems: the systems of its own table.
    """

    folder: str
    difference: str
    status: JobStatus | None
    systems: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        return self.status is not None and self.status.state == "finished"

    @property
    def failed(self) -> bool:
        return self.status is not None and self.status.code != 0

    @property
    def lost(self) -> bool:
        """Return whether the job was not begun, or its process was killed."""
        return self.status is None or self.status.state == "killed"

    @property
    def main_system(self) -> Mapping[str, Any]:
        """The system the job is about, the last of its table; empty if it made none."""
        return self.systems[-1] if self.systems else {}


def format_jobs_table(jobs: Sequence[JobSummary], table_format: TableFormat = terminal_table) -> str:
    """Return the table of the jobs, with how many finished. It ends in a newline."""
    finished = sum(job.finished for job in jobs)
    lines = table_format(_COLUMNS, [{"name": job.folder, "job": job} for job in jobs])
    notes = dict.fromkeys(
        note for job in jobs if job.systems for note in fairness_notes(job.main_system.get("compared", {}))
    )
    return "\n".join([*lines, "", *notes, f"{finished} of {len(jobs)} jobs finished."]) + "\n"


def _ending(job: JobSummary) -> str:
    if job.status is None:
        return "not begun"
    return job.status.state + (f": {job.status.error}" if job.status.error else "")


def _figure(job: JobSummary, key: str, show: Callable[[float], str]) -> str:
    value = job.main_system.get(key)
    return NONE if value is None else show(value)


def _seconds(job: JobSummary) -> str:
    return NONE if job.status is None or job.status.seconds is None else f"{job.status.seconds:.0f}"


_COLUMNS = (
    Column(("", "job"), lambda row: row["name"]),
    Column(("", "differs in"), lambda row: row["job"].difference or NONE, align_left=True),
    Column(("", "system"), lambda row: row["job"].main_system.get("name", NONE), align_left=True),
    Column(("", "retention"), lambda row: _figure(row["job"], "retention", lambda part: f"{100 * part:.1f} %")),
    Column(("bytes", "on disk"), lambda row: _figure(row["job"], "bytes_on_disk", format_bytes)),
    Column(("", "seconds"), lambda row: _seconds(row["job"])),
    Column(("", "outcome"), lambda row: _ending(row["job"]), align_left=True),
)

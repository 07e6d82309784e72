"""The state of a job and how it ended: ``status.json`` in its folder.

A launcher may run the jobs of a sweep in processes of its own, on other machines, and lose one silently. So the end of
a job is in a file, and does not depend on what a function returns.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError
from stc.system.durable_files import write_atomically
from stc.system.natural_order import natural_key
from stc.system.process import Process
from stc.system.read_files import read_json

STATUS_FILE = "status.json"
LOG_FILE = "job.log"
LOST = "its process ended without a word: killed, or out of memory"


class JobStatus(BaseModel):
    """The state of a job.

    Attributes:
        state: ``queued`` for a job that was interrupted and will begin again.
        overrides: the settings that differ from the defaults, as Hydra got them.
        process: the process that the job runs or ran in.
        error: one line.
        code: the exit code of a run that ends like this.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["running", "finished", "failed", "killed", "queued"]
    overrides: tuple[str, ...]
    process: Process
    seconds: float | None = None
    error: str = ""
    code: int = 0

    @property
    def running(self) -> bool:
        return self.state == "running"

    def checked_alive(self) -> JobStatus:
        """Return the same status, or "killed" if the job should be running and its process is gone."""
        if not self.running or self.process.alive:
            return self
        return self.model_copy(update={"state": "killed", "error": LOST, "code": 1})

    def write(self, folder: Path) -> None:
        write_atomically(folder / STATUS_FILE, self.model_dump_json(indent=1) + "\n")


def job_statuses(sweep: Path) -> dict[str, JobStatus]:
    """Return the status of each job of a sweep that was begun, by the name of its folder in the sweep's."""
    found: dict[str, JobStatus] = {}
    for file in sweep.rglob(STATUS_FILE):
        with suppress(OSError, InputError):  # a file that stc did not write
            found[file.parent.relative_to(sweep).as_posix()] = read_json(file, JobStatus).checked_alive()
    return dict(sorted(found.items(), key=lambda item: natural_key(Path(item[0]))))

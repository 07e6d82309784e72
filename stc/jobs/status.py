"""How a job stands and how it ended: ``status.json`` in its folder.

A launcher may run the jobs of a sweep in processes of its own, on other machines, and lose one without a word. So
what became of a job is in a file, and not in what a function returns.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError
from stc.system.natural_order import natural_key
from stc.system.process import Process
from stc.system.read_files import read_json

STATUS_FILE = "status.json"
LOG_FILE = "job.log"
LOST = "its process ended without a word: killed, or out of memory"


class JobStatus(BaseModel):
    """A job: what it was asked for, the process it runs or ran in, and how that ended.

    ``queued`` is one that was begun and interrupted, and will begin again. ``overrides`` are the settings in which it
    differs from the defaults, as Hydra was given them; ``error`` is one line; ``code`` is the exit code of a run that
    ends like this.
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
        """The same, or killed, if its process is gone although it has not ended."""
        if not self.running or self.process.alive:
            return self
        return self.model_copy(update={"state": "killed", "error": LOST, "code": 1})

    def write(self, folder: Path) -> None:
        from stc.system.durable_files import write_atomically

        write_atomically(folder / STATUS_FILE, self.model_dump_json(indent=1) + "\n")


def job_statuses(sweep: Path) -> dict[str, JobStatus]:
    """How the jobs of a sweep stand, those that were begun, by the name of their folder below the sweep's."""
    found: dict[str, JobStatus] = {}
    for file in sweep.rglob(STATUS_FILE):
        with suppress(OSError, InputError):  # not one of ours
            found[file.parent.relative_to(sweep).as_posix()] = read_json(file, JobStatus).checked_alive()
    return dict(sorted(found.items(), key=lambda one: natural_key(Path(one[0]))))

"""The jobs of a sweep, in what they differ, what became of each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.jobs.status import Outcome
from stc.report import NONE, Column, marked, size, text


@dataclass(frozen=True)
class Job:
    """A job of the table: its folder below the sweep's, in what it differs from the others, how it stands, and the
    systems of its own table."""

    folder: str
    differs: str
    outcome: Outcome | None  # None for one that was not begun
    systems: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        return self.outcome is not None and self.outcome.state == "finished"

    @property
    def main(self) -> Mapping[str, Any]:
        """The system the job is about, the last of its table; empty where it made none."""
        return self.systems[-1] if self.systems else {}


def differing(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """In what a job differs from the others of its sweep, in few words: ``zh 50 % block_influence``."""
    values = assignments(overrides, swept)
    words = [_WORDS[key](values.pop(key)) for key in _WORDS if key in values]
    names = short_names(list(values))
    return " ".join([*words, *(f"{names[key]} {value}" for key, value in values.items())])


def further(overrides: Sequence[str]) -> str:
    """What a run was asked for beside the settings its name has anyway and those that decide no result."""
    keys = [assignment(override)[0] for override in overrides]
    return differing(overrides, [key for key in keys if key not in _NAMED and key.split(".")[0] not in _AROUND])


def short_names(keys: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """The shortest end of each key that no other ends in and that is not ``taken``: ``prune.ratio`` → ``ratio``."""
    ends = {key: list(key_ends(key)) for key in keys}
    names = {}
    for key in keys:
        others = {*taken, *(end for other in keys if other != key for end in ends[other])}
        names[key] = next((end for end in ends[key] if end not in others), key)
    return names


def key_ends(key: str) -> Iterator[str]:
    """``a.b`` → ``b``, ``a.b``; of ``group@place`` the place first."""
    parts = key.replace("@", ".").split(".")
    yield from (".".join(parts[-length:]) for length in range(1, len(parts)))
    yield key


def assignments(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """What the overrides set these keys to."""
    return {key: value for key, value in map(assignment, overrides) if key in keys}


def assignment(override: str) -> tuple[str, str]:
    """Key and value of an override, the value without what only quotes it."""
    key, _, value = override.lstrip("+~").partition("=")
    if value.startswith(("'", '"')):
        from stc.config.override_values import parse

        text = parse(override).value()
        value = text if isinstance(text, str) else value
    return key, value


def _percent(ratio: str) -> str:
    try:
        return f"{100 * float(ratio):.3g} %"
    except ValueError:
        return ratio


_NAMED = {"model", "lang", "prune", "prune.ratio", "pipeline", "seeds"}  # by stc.jobs.job
_AROUND = {"store", "tracking", "resources", "force", "fail_fast", "hydra", "hydra/launcher"}

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

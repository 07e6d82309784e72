"""``plan=true``: what the jobs of a command will do, printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stc.config.composition import compose_jobs
from stc.planning.disk import bytes_on_disk, free_disk_space
from stc.planning.dry_run import StepState
from stc.planning.jobs import PlannedJob, PlannedStep, device_for, plan_jobs
from stc.planning.memory import bytes_to_write, free_memory, peak_memory
from stc.planning.preflight import check_jobs, collect_notes, hub_faults
from stc.planning.text import format_jobs
from stc.system.quantities import format_bytes


def print_plan(arguments: list[str]) -> int:
    """Print the plan of every job; 0, or 1 where it does not fit the machine.

    Raises:
        ConfigError: with the faults of all jobs, and what would stop them later.
    """
    jobs = compose_jobs(arguments)
    plans = [job.plan for job in jobs]
    check_jobs(plans, running=False)
    found = plan_jobs([(job.config, job.plan) for job in jobs], _titles([job.overrides for job in jobs]))
    for line in format_jobs(found):
        print(line)
    print(_counted(found))
    _, unasked = hub_faults(plans)
    for note in [*unasked, *collect_notes(plans)]:
        print(f"note: {note}")
    if fetched := {row.step.identity: bytes_on_disk(row.will_be) for job in found for row in job.rows if _fetched(row)}:
        known = all(fetched.values())
        amount = format_bytes(sum(fetched.values())) if known else "how much is not known"
        print(f"download: {amount}, into the hub's cache")
    lacking = False
    for about, wanted, free, where in _needs(found):
        fits = free is None or wanted <= free
        lacking |= not fits
        verdict = "how much is free is not known here" if free is None else f"{format_bytes(free)} free {where}"
        print(f"{about}: {format_bytes(wanted)}; {verdict}{'' if fits else ': DOES NOT FIT'}")
    return int(lacking)


def _fetched(row: PlannedStep) -> bool:
    return row.step.state is StepState.FETCH


def _titles(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What sets each job of several apart; of a single one, all that it was told."""
    common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
    apart = [[one.lstrip("+") for one in job if one not in common] for job in overrides]
    return [" ".join(one) or "the defaults" for one in apart]


def _counted(found: Sequence[PlannedJob]) -> str:
    rows = [row for job in found for row in job.rows]
    runs = sum(row.runs for row in rows)
    shared = sum(bool(row.shared) for row in rows)
    cached = sum(row.step.state is StepState.CACHED for row in rows)
    return f"stages: {runs} to run, {shared} shared, {cached} cached"


def _needs(found: Sequence[PlannedJob]) -> Iterator[tuple[str, int, int | None, str]]:
    """(what, bytes wanted, bytes free, where) of disk and memory."""
    folder: Path = found[0].config.store.dir
    if wanted := bytes_to_write(found):
        yield "disk, models and features to come", wanted, free_disk_space(folder), f"in {folder}"
    most = peak_memory(found)
    if most.bytes:
        device = device_for(found[0].config)
        about = f"memory, about ({most.stage} of {most.job})"
        yield about, most.bytes, free_memory(device), "on the GPU" if device == "cuda" else "of the machine"

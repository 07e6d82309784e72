"""``plan=true``: prints what the jobs of a command will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stc.config.composition import compose_jobs
from stc.planning.disk import bytes_on_disk, free_disk_space
from stc.planning.dry_run import StepState
from stc.planning.memory import free_memory, peak_memory
from stc.planning.plan_text import format_jobs
from stc.planning.planned_jobs import PlannedJob, bytes_to_write, peak_bytes_to_write, plan_jobs
from stc.planning.preflight import check_jobs, collect_notes, hub_faults
from stc.system.number_formats import format_bytes


def print_plan(arguments: list[str]) -> int:
    """Print the plan of every job. Return 0, or 1 if it does not fit the machine.

    Raises:
        ConfigError: with the faults of all jobs, and what would stop them later.
    """
    composed = compose_jobs(arguments)
    plans = [job.plan for job in composed]
    check_jobs(plans, running=False)
    jobs = plan_jobs(composed)
    for line in format_jobs(jobs):
        print(line)
    steps = [step for job in jobs for step in job.steps]
    shared = sum(bool(one.shared) for one in steps)
    cached = sum(one.state is StepState.CACHED for one in steps)
    print(f"stages: {sum(one.runs for one in steps)} to run, {shared} shared, {cached} cached")
    _, unreachable = hub_faults(plans)
    for note in [*unreachable, *collect_notes(plans)]:
        print(f"note: {note}")
    downloads = {one.identity: bytes_on_disk(one.forecast) for one in steps if one.state is StepState.FETCH}
    if downloads:
        amount = format_bytes(sum(downloads.values())) if all(downloads.values()) else "how much is not known"
        print(f"download: {amount}, into the hub's cache")
    everything_fits = True
    for what, needed, free, where in _needs(jobs):
        fits = free is None or needed <= free
        everything_fits &= fits
        found = "how much is free is not known here" if free is None else f"{format_bytes(free)} free {where}"
        print(f"{what}: {format_bytes(needed)}; {found}{'' if fits else ': DOES NOT FIT'}")
    return int(not everything_fits)


def _needs(jobs: Sequence[PlannedJob]) -> Iterator[tuple[str, int, int | None, str]]:
    """Yield (what, bytes needed, bytes free, where) of disk and memory."""
    config = jobs[0].config
    if needed := bytes_to_write(jobs):
        what, peak = "disk, models and features to come", peak_bytes_to_write(jobs)
        if config.store.keep == "final":
            what, needed = f"{what} ({format_bytes(needed)}), the most at a time with store.keep=final", peak
        else:
            what = f"{what} (with store.keep=final {format_bytes(peak)} at a time)"
        yield what, needed, free_disk_space(config.store.dir), f"in {config.store.dir}"
    memory = peak_memory(jobs)
    if memory.bytes:
        where = "on the GPU" if jobs[0].device == "cuda" else "of the machine"
        yield f"memory, about ({memory.stage} of {memory.job})", memory.bytes, free_memory(jobs[0].device), where

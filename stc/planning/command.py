"""``plan=true``: what the jobs of a command will do, printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stc.config.command_line import composed
from stc.planning.disk import disk, free_disk
from stc.planning.jobs import Job, Row, device_of, lay_out
from stc.planning.memory import free_memory, peak, to_write
from stc.planning.outcome import State
from stc.planning.preflight import notes, of_hub, refuse
from stc.planning.text import told
from stc.system.quantities import format_bytes


def show(arguments: list[str]) -> int:
    """Print the plan of every job; 0, or 1 where it does not fit the machine.

    Raises:
        ConfigError: with the faults of all jobs, and what would stop them later.
    """
    jobs = composed(arguments)
    plans = [job.plan for job in jobs]
    refuse(plans, running=False)
    found = lay_out([(job.config, job.plan) for job in jobs], _titles([job.overrides for job in jobs]))
    for line in told(found):
        print(line)
    print(_counted(found))
    _, unasked = of_hub(plans)
    for note in [*unasked, *notes(plans)]:
        print(f"note: {note}")
    if fetched := {row.step.identity: disk(row.will_be) for job in found for row in job.rows if _fetched(row)}:
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


def _fetched(row: Row) -> bool:
    return row.step.state is State.FETCH


def _titles(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What sets each job of several apart; of a single one, all that it was told."""
    common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
    apart = [[one.lstrip("+") for one in job if one not in common] for job in overrides]
    return [" ".join(one) or "the defaults" for one in apart]


def _counted(found: Sequence[Job]) -> str:
    rows = [row for job in found for row in job.rows]
    runs = sum(row.runs for row in rows)
    shared = sum(bool(row.shared) for row in rows)
    cached = sum(row.step.state is State.CACHED for row in rows)
    return f"stages: {runs} to run, {shared} shared, {cached} cached"


def _needs(found: Sequence[Job]) -> Iterator[tuple[str, int, int | None, str]]:
    """(what, bytes wanted, bytes free, where) of disk and memory."""
    folder: Path = found[0].config.store.dir
    if wanted := to_write(found):
        yield "disk, models and features to come", wanted, free_disk(folder), f"in {folder}"
    most = peak(found)
    if most.bytes:
        device = device_of(found[0].config)
        about = f"memory, about ({most.stage} of {most.job})"
        yield about, most.bytes, free_memory(device), "on the GPU" if device == "cuda" else "of the machine"

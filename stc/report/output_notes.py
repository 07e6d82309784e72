"""Notes of a table on what its systems said instead of translating, and on what was removed from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stc.metrics.output_faults import FAULTS
from stc.system.tables import Row

_VERBS = {"are": "is", "begin": "begins", "loop": "loops"}


def output_notes(systems: Iterable[tuple[str, Row]]) -> list[str]:
    """Return a sentence for each system with faults, and one on the systems in which none were counted.

    Args:
        systems: rows of a comparison, or of :func:`stc.report.run_table.aggregate_seeds`, each with its name.
    """
    named = list(systems)
    notes = [note for name, row in named if (note := _fault_note(name, row))]
    unknown = dict.fromkeys(name for name, row in named if row.get("output_faults") is None)
    if unknown:
        who = "these systems" if len(unknown) == len(named) > 1 else ", ".join(unknown)
        notes.append(f"Not counted for {who}, scored by an earlier version: what is said instead of a translation.")
    return notes


def summed_faults(rows: Sequence[Row]) -> dict[str, int] | None:
    """Return the faults of one system with several seeds together; None unless they were counted with each."""
    counted = [row.get("output_faults") for row in rows]
    if None in counted:
        return None
    return {fault: sum(counts.get(fault, 0) for counts in counted if counts) for fault in FAULTS}


def _fault_note(name: str, row: Row) -> str:
    counts: Mapping[str, Any] = row.get("output_faults") or {}
    found = [(count, FAULTS[fault]) for fault in FAULTS if (count := counts.get(fault))]
    if not found:
        return ""
    sentences = row.get("sentences") or row["compared"]["sentences"]
    first, *others = [f"{count:,} {_agree(words, count)}" for count, words in found]
    count, does = first.split(" ", 1)
    return f"{name}: {', '.join([f'{count} of {sentences:,} {does}', *others])}."


def _agree(words: str, count: int) -> str:
    """Return the words with their verb in the number that the count asks for."""
    verb, _, rest = words.partition(" ")
    return f"{_VERBS[verb]} {rest}".rstrip() if count == 1 else words

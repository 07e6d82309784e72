"""Notes of a table on what its systems said instead of translating, and on what was removed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stc.metrics.output_faults import FAULTS
from stc.system.tables import Row

_VERBS = {"are": "is", "begin": "begins", "loop": "loops"}


def output_notes(systems: Iterable[tuple[str, Row]]) -> list[str]:
    """Return sentences on what was removed from texts, on the faults of each system, and on those without a count.

    Args:
        systems: rows of a comparison, or of :func:`stc.report.run_table.aggregate_seeds`, each with its name.
    """
    named = list(systems)
    notes = [*_rule_notes(named), *(note for name, row in named if (note := _fault_note(name, row)))]
    unknown = dict.fromkeys(name for name, row in named if row.get("output_faults") is None)
    if unknown:
        who = "these systems" if len(unknown) == len(named) > 1 else ", ".join(unknown)
        notes.append(f"Not counted for {who}, scored by an earlier version: what is said instead of a translation.")
    return notes


def summed_outputs(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the faults and the changed texts of one system with several seeds together.

    The faults are None unless they were counted with each.
    """
    counted = [row.get("output_faults") for row in rows]
    total = None if None in counted else {fault: sum(one.get(fault, 0) for one in counted if one) for fault in FAULTS}
    summed: dict[str, Any] = {"output_faults": total}
    if rules := rows[0].get("output_rules"):
        summed["output_rules"] = {**rules, "changed": sum(row["output_rules"]["changed"] for row in rows)}
    return summed


def _rule_notes(named: Sequence[tuple[str, Row]]) -> Iterator[str]:
    """Yield a sentence for each set of rules that changed texts before they were scored."""
    together: dict[str, list[str]] = {}
    for name, row in named:
        if rules := row.get("output_rules"):
            changed = f"{name} {rules['changed']:,} of {_sentences(row):,}"
            together.setdefault(_settings(rules), []).append(changed)
    for settings, changes in together.items():
        yield f"Texts were edited before they were scored ({settings}): {', '.join(changes)}."


def _settings(rules: Mapping[str, Any]) -> str:
    """Return rules as they are given on the command line."""
    strip = rules["strip"] and f"decoding.strip=[{','.join(rules['strip'])}]"
    stop = rules["stop_repetition"] and f"decoding.stop_repetition={rules['stop_repetition']}"
    return " ".join(filter(None, (strip, stop)))


def _sentences(row: Row) -> int:
    return int(row.get("sentences") or row["compared"]["sentences"])


def _fault_note(name: str, row: Row) -> str:
    counts: Mapping[str, Any] = row.get("output_faults") or {}
    found = [(count, FAULTS[fault]) for fault in FAULTS if (count := counts.get(fault))]
    if not found:
        return ""
    first, *others = [f"{count:,} {_agree(words, count)}" for count, words in found]
    count, does = first.split(" ", 1)
    return f"{name}: {', '.join([f'{count} of {_sentences(row):,} {does}', *others])}."


def _agree(words: str, count: int) -> str:
    """Return the words with their verb in the number that the count asks for."""
    verb, _, rest = words.partition(" ")
    return f"{_VERBS[verb]} {rest}".rstrip() if count == 1 else words

"""Describes a store, for a terminal."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stc.store.garbage_collection import CollectionPlan
from stc.store.inventory import SHORT, DiskUsage, Inventory, InventoryEntry
from stc.system.number_formats import format_bytes


def format_list(inventory: Inventory, kind: str | None) -> Iterator[str]:
    """Yield a line for each result, and the space that they use together."""
    entries = [entry for entry in inventory.entries if kind in (None, entry.kind.value)]
    rows = [
        (
            entry.kind.value,
            entry.identity[:SHORT],
            entry.name,
            _when(entry.made),
            "evicted" if entry.evicted else "damaged" if entry.record is None else format_bytes(entry.bytes),
            _command(entry),
        )
        for entry in entries
    ]
    yield from _columns([("KIND", "ID", "NAME", "MADE", "SIZE", "BY"), *rows])
    taken = DiskUsage(entry.folder for entry in entries if not entry.evicted).bytes
    shared = "not counting files that have a name elsewhere as well"
    yield f"{len(entries)} results; {format_bytes(taken)} of the disk, {shared}"


def format_entry(entry: InventoryEntry) -> Iterator[str]:
    """Yield the lines of a record."""
    record = entry.record
    yield f"{entry.kind.value} {entry.identity}"
    yield f"  in        {entry.folder}{f' until {entry.evicted}, when it was evicted' if entry.evicted else ''}"
    if record is None:
        yield f"  damaged   {entry.fault}"
        return
    spec = record.get("spec", {})
    yield f"  made by   {spec.get('stage', '?')} version {spec.get('version', '?')}, as {entry.name}"
    yield f"  when      {_when(entry.made)}, in {entry.seconds:g} s"
    yield f"  command   {_command(entry)}"
    commit, changed = record.get("commit") or ("not known", False)
    yield f"  commit    {commit[:12]}{', with changes' * bool(changed)}"
    yield f"  with      {', '.join(f'{name} {version}' for name, version in record.get('versions', {}).items())}"
    yield f"  files     {len(record['files'])}, {format_bytes(entry.bytes)}"
    if spec.get("generation"):
        yield f"  forced    {spec['generation']} times"
    for title, values in (
        ("inputs", entry.inputs), ("fields", spec.get("config", {})), ("beside", spec.get("surroundings", {})),
        ("facts", record["facts"]),
    ):  # fmt: skip
        if values:
            yield f"  {title}"
            for key, value in values.items():
                yield f"    {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def format_trace(inventory: Inventory, entry: InventoryEntry, levels: int) -> Iterator[str]:
    """Yield what a result was made from, as a tree of so many levels, and what was made from it."""
    yield entry.label
    yield "made from"
    yield from _tree(inventory, entry, 1, levels, {entry.identity}) if entry.inputs else ["  nothing"]
    yield "used for"
    made = inventory.uses_of(entry)
    for one in made:
        keys = ", ".join(key for key, value in one.inputs.items() if value == entry.identity)
        yield f"  {one.label}{_state(one)}{f', as {keys}' if keys else ''}"
    if not made:
        yield "  nothing"


def _tree(inventory: Inventory, entry: InventoryEntry, depth: int, levels: int, seen: set[str]) -> Iterator[str]:
    for key, text, found in inventory.inputs_of(entry):
        if found is None:
            yield f"{'  ' * depth}{key}: {text} from outside the store, or no longer in it"
            continue
        facts = f"{text}: " if text.startswith("any ") else ""
        repeated = found.identity in seen and bool(found.inputs)
        cut = depth == levels and bool(found.inputs)
        rest = ", as above" if repeated else f", from {len(found.inputs)} more (--depth {depth + 1})" if cut else ""
        yield f"{'  ' * depth}{key}: {facts}{found.label}{_state(found)}{rest}"
        if not repeated and not cut:
            seen.add(found.identity)
            yield from _tree(inventory, found, depth + 1, levels, seen)


def format_collection(collected: CollectionPlan) -> Iterator[str]:
    """Yield what is deleted, in its order, and the scratch that stays."""
    rows = [(one.what, one.name[:SHORT], "", format_bytes(one.bytes), "") for one in collected.leftovers]
    for entry, freed in collected.evictions:
        row = f"evict {entry.kind.value}", entry.identity[:SHORT], entry.name, format_bytes(freed)
        rows.append((*row, f"made in {entry.seconds:.0f} s"))
    stays = [(f"stays: {one.what}", one.name[:SHORT], "", format_bytes(one.bytes), "") for one in collected.staying]
    if not rows:
        yield "nothing to free"
    if rows or stays:
        yield from _columns([*rows, *stays])


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()[:room]


def _state(entry: InventoryEntry) -> str:
    return " (evicted)" if entry.evicted else ""


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _command(entry: InventoryEntry) -> str:
    """Return the command line that made a result, as a user would type it."""
    words: Any = (entry.record or {}).get("command") or []
    if not words:
        return ""
    program, *arguments = map(str, words)
    path = Path(program)
    if path.suffix == ".py" and path.parent.name:
        parts = path.with_suffix("").parts
        module = parts[max(i for i, part in enumerate(parts) if part == "stc") :] if "stc" in parts else (path.stem,)
        program = f"python -m {'.'.join(part for part in module if part != '__main__')}"
    shown = (one.removeprefix("++") for one in arguments)
    return " ".join([program, *map(shlex.quote, shown)])

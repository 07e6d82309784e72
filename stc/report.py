"""The table of a run, for a terminal and in Markdown, from what `compare` has written.

Imports nothing heavy: a run in which everything was cached prints its table at once.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.metrics.records import HYPOTHESES_FILE
from stc.metrics.text import METRICS
from stc.stage import Artifact

COMPARISON_FILE = "comparison.json"
_NONE = "–"


def systems(comparison: Artifact, inputs: Mapping[str, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
    """The systems of a comparison, each with where its files are now and what its retention refers to.

    Args:
        comparison: a COMPARISON artifact.
        inputs: the artifacts it was made from, by input name (``scores``, ``models``) and label.

    Raises:
        InputError: when comparison.json is missing, or ``inputs`` lacks one of its systems.
    """
    rows = in_context(_read(comparison.path / COMPARISON_FILE))
    for row in rows:
        for kind in ("models", "scores"):
            if row["name"] not in inputs.get(kind, {}):
                raise InputError(f"system {row['name']!r} of {comparison.path} has no artifact among the {kind}")
        row["model_dir"] = str(inputs["models"][row["name"]].path)
        row["hypotheses"] = str(inputs["scores"][row["name"]].path / HYPOTHESES_FILE)
    return rows


def in_context(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The systems of a comparison.json, each with the rest of that file under ``compared``."""
    compared = {key: value for key, value in content.items() if key != "systems"}
    return [{**system, "compared": compared} for system in content["systems"]]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    return content


@dataclass(frozen=True)
class _Column:
    """A column: its title in two lines, the key of the systems it is about, and how it shows what is there."""

    title: tuple[str, str]
    key: str
    show: Callable[[Any], str]
    left: bool = False  # aligned


def _score(score: float | None) -> str:
    return _NONE if score is None else f"{score:.1f}"


_COLUMNS = (
    _Column(("", "system"), "name", str, left=True),
    _Column(("decoder", "layers"), "layers", str),
    _Column(("", "parameters"), "params", lambda number: quantity(number)),
    _Column(("packed", "elements"), "packed_elements", lambda number: quantity(number)),
    _Column(("bytes", "on disk"), "bytes_on_disk", lambda number: size(number)),
    *(_Column(("", printed), name, _score) for name, printed in METRICS.items()),
    _Column(("", "retention"), "retention", lambda ratio: _percent(ratio, " %")),
    _Column(("", "interval"), "interval", str),
    _Column(("real-time", "factor"), "rtf", lambda factor: f"{factor:.3g}"),
    _Column(("peak", "memory"), "peak_memory_bytes", lambda number: size(number)),
)


def table(systems: Sequence[Mapping[str, Any]]) -> str:
    """The systems as a table for a terminal, and below it what the figures mean. Ends in a newline.

    A column that no system has a figure for is left out: speed, where it was not measured.
    """
    columns, cells = _cells(systems)
    titles = [[column.title[line] for column in columns] for line in range(2)]
    widths = [max(map(_width, column)) for column in zip(*titles, *cells, strict=True)]
    lines = [_line(columns, row, widths) for row in titles]
    lines.append("  ".join("─" * width for width in widths))
    lines += [_line(columns, row, widths) for row in cells]
    return "\n".join([*lines, "", *_notes(systems)]) + "\n"


def markdown(systems: Sequence[Mapping[str, Any]]) -> str:
    """The same table in Markdown. Ends in a newline."""
    columns, cells = _cells(systems)
    titles = [" ".join(filter(None, column.title)) for column in columns]
    rules = ["---" if column.left else "---:" for column in columns]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in (titles, rules, *escaped)]
    return "\n".join([*lines, "", *_notes(systems)]) + "\n"


def _cells(systems: Sequence[Mapping[str, Any]]) -> tuple[list[_Column], list[list[str]]]:
    """The columns there is something for, and what each system has in them."""
    rows = [{**system, "interval": _interval(system)} for system in systems]
    columns = [column for column in _COLUMNS if any(column.key in row for row in rows)]
    return columns, [[column.show(row[column.key]) for column in columns] for row in rows]


def quantity(number: float) -> str:
    """A count in three significant digits: ``812``, ``10.4 M``, ``6.78 B``."""
    return _scaled(number, ("", "k", "M", "B", "T"))


def size(number: float) -> str:
    """Bytes in three significant digits and powers of 1000: ``21.0 MB``."""
    return _scaled(number, ("B", "kB", "MB", "GB", "TB"))


def _scaled(number: float, units: Sequence[str]) -> str:
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number /= 1000
        power += 1
    decimals = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f} {units[power]}".rstrip()


def _percent(ratio: float | None, unit: str = "") -> str:
    return _NONE if ratio is None else f"{100 * ratio:.1f}{unit}"


def _interval(system: Mapping[str, Any]) -> str:
    if system["name"] == system["compared"]["reference"]:
        return "reference"
    if system["retention_ci"] is None:
        return _NONE
    return "–".join(map(_percent, system["retention_ci"]))


def _notes(systems: Sequence[Mapping[str, Any]]) -> list[str]:
    if not systems:
        return []
    compared = systems[0]["compared"]
    devices = dict.fromkeys(system["device"] for system in systems if "device" in system)
    lines = [
        f"Retention: {METRICS[compared['metric']]} relative to {compared['reference']}, the best unpruned system; "
        f"{100 * compared['confidence']:g} % interval of",
        f"{compared['resamples']:,} paired bootstrap resamples of the {compared['sentences']:,} sentences."
        + (" Real-time factor: seconds of" if devices else ""),
    ]
    if devices:
        lines.append(
            f"computing per second of audio. It and peak memory: on {' and '.join(devices)}, one utterance at a time."
        )
    if any(system["name"] == compared["reference"] and system["retention"] is None for system in systems):
        lines.append(f"There is no retention here: {compared['reference']} scores 0.")
    return lines


def _line(columns: Sequence[_Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(cell + space if column.left else space + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns a terminal uses: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

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
    """A column: its title in two lines, and what of a system it shows."""

    title: tuple[str, str]
    show: Callable[[Mapping[str, Any]], str]
    left: bool = False  # aligned


def _metric(name: str) -> _Column:
    def show(system: Mapping[str, Any]) -> str:
        return _NONE if system[name] is None else f"{system[name]:.1f}"

    return _Column(("", METRICS[name]), show)


_COLUMNS = (
    _Column(("", "system"), lambda system: str(system["name"]), left=True),
    _Column(("decoder", "layers"), lambda system: str(system["layers"])),
    _Column(("", "parameters"), lambda system: quantity(system["params"])),
    _Column(("packed", "elements"), lambda system: quantity(system["packed_elements"])),
    _Column(("bytes", "on disk"), lambda system: size(system["bytes_on_disk"])),
    *map(_metric, METRICS),
    _Column(("", "retention"), lambda system: _percent(system["retention"], " %")),
    _Column(("", "interval"), lambda system: _interval(system)),
    _Column(("real-time", "factor"), lambda system: f"{system['rtf']:.3g}"),
    _Column(("peak", "memory"), lambda system: size(system["peak_memory_bytes"])),
)


def table(systems: Sequence[Mapping[str, Any]]) -> str:
    """The systems as a table for a terminal, and below it what the figures mean. Ends in a newline."""
    cells = [[column.show(system) for column in _COLUMNS] for system in systems]
    titles = [[column.title[line] for column in _COLUMNS] for line in range(2)]
    widths = [max(map(_width, column)) for column in zip(*titles, *cells, strict=True)]
    lines = [_line(row, widths) for row in titles]
    lines.append("  ".join("─" * width for width in widths))
    lines += [_line(row, widths) for row in cells]
    return "\n".join([*lines, "", *_notes(systems)]) + "\n"


def markdown(systems: Sequence[Mapping[str, Any]]) -> str:
    """The same table in Markdown. Ends in a newline."""
    titles = [" ".join(filter(None, column.title)) for column in _COLUMNS]
    rules = ["---" if column.left else "---:" for column in _COLUMNS]
    cells = [[column.show(system).replace("|", "\\|") for column in _COLUMNS] for system in systems]
    lines = [f"| {' | '.join(row)} |" for row in (titles, rules, *cells)]
    return "\n".join([*lines, "", *_notes(systems)]) + "\n"


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
    devices = dict.fromkeys(system["device"] for system in systems)
    lines = [
        f"Retention: {METRICS[compared['metric']]} relative to {compared['reference']}, the best unpruned system; "
        f"{100 * compared['confidence']:g} % interval of",
        f"{compared['resamples']:,} paired bootstrap resamples of the {compared['sentences']:,} sentences. "
        "Real-time factor: seconds of",
        f"computing per second of audio. It and peak memory: on {' and '.join(devices)}, one utterance at a time.",
    ]
    if any(system["name"] == compared["reference"] and system["retention"] is None for system in systems):
        lines.append(f"There is no retention here: {compared['reference']} scores 0.")
    return lines


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(_COLUMNS, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(cell + space if column.left else space + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns a terminal uses: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

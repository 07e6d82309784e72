"""The table of a run, for a terminal and in Markdown, from what `compare` has written.

Imports nothing heavy: a run in which everything was cached prints its table at once. What reports on a whole sweep is
in the modules beside this one, and ``python -m stc.report`` is its command.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.errors import InputError
from stc.metrics.records import HYPOTHESES_FILE
from stc.metrics.sample_size import caution, enough
from stc.metrics.text import METRICS
from stc.pipeline.stage import Artifact
from stc.report.comparison import in_context, read_comparison

NONE = "–"
_NOTE_WIDTH = 112


def systems(comparison: Artifact, inputs: Mapping[str, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
    """The systems of a comparison, each with where its files are now and what its retention refers to.

    Args:
        comparison: a COMPARISON artifact.
        inputs: the artifacts it was made from, by input name (``scores``, ``models``) and label.

    Raises:
        InputError: when comparison.json is missing or damaged, or ``inputs`` lacks one of its systems.
    """
    rows = in_context(read_comparison(comparison.path))
    for row in rows:
        for kind in ("models", "scores"):
            if row["name"] not in inputs.get(kind, {}):
                raise InputError(f"system {row['name']!r} of {comparison.path} has no artifact among the {kind}")
        row["model_dir"] = str(inputs["models"][row["name"]].path)
        row["hypotheses"] = str(inputs["scores"][row["name"]].path / HYPOTHESES_FILE)
    return rows


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: its title in two lines, and what of a row it shows; left out where no row has the key it ``needs``.
    Where it is ``strong`` it is bold, in forms that have bold type."""

    title: tuple[str, str]
    show: Callable[[Row], str]
    left: bool = False  # aligned
    needs: str = "name"
    strong: Callable[[Row], bool] = lambda row: False


Form = Callable[[Sequence[Column], Sequence[Row]], list[str]]
"""How a table is written: its columns and rows → its lines, titles included."""


def text(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """A table for a terminal, its titles included, by line."""
    cells = [[column.show(row) for column in columns] for row in rows]
    titles = [[column.title[line] for column in columns] for line in range(2)]
    widths = [max(map(_width, column)) for column in zip(*titles, *cells, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    head, body = ([_line(columns, row, widths) for row in part] for part in (titles, cells))
    return [*filter(None, head), rule, *body]


def marked(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """The same table in Markdown, by line."""
    titles = [" ".join(filter(None, column.title)) for column in columns]
    rules = ["---" if column.left else "---:" for column in columns]
    cells = [[_marked_cell(column, row) for column in columns] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (titles, rules, *cells)]


def _marked_cell(column: Column, row: Row) -> str:
    shown = column.show(row).replace("|", "\\|")
    return f"**{shown}**" if column.strong(row) else shown


def _metric(name: str) -> Column:
    def show(system: Row) -> str:
        return NONE if system[name] is None else f"{system[name]:.1f}"

    return Column(("", METRICS[name]), show)


SYSTEM = Column(("", "system"), lambda row: str(row["name"]), left=True)
SIZES = (
    Column(("decoder", "layers"), lambda row: str(row["layers"])),
    Column(("", "parameters"), lambda row: quantity(row["params"])),
    Column(("packed", "elements"), lambda row: quantity(row["packed_elements"])),
    Column(("bytes", "on disk"), lambda row: size(row["bytes_on_disk"])),
)
SCORES = tuple(map(_metric, METRICS))
RETENTION = Column(("", "retention"), lambda row: percent(row["retention"], " %"))
SPEED = (
    Column(("real-time", "factor"), lambda row: f"{row['rtf']:.3g}", needs="rtf"),
    Column(("peak", "memory"), lambda row: size(row["peak_memory_bytes"]), needs="peak_memory_bytes"),
)
_COLUMNS = (
    SYSTEM,
    *SIZES,
    *SCORES,
    RETENTION,
    Column(("", "interval"), lambda row: _retention_interval(row)),
    *SPEED,
)
_TESTS = (
    SYSTEM,
    Column(("", "against"), lambda row: row["against"], left=True),
    Column(("", "difference"), lambda row: signed(row["value"])),
    Column(("", "interval"), lambda row: " to ".join(map(signed, row["interval"])) if row["interval"] else NONE),
    Column(("p, approximate", "randomization"), lambda row: p_value(row["p_randomization"])),
    Column(("p, paired", "bootstrap"), lambda row: p_value(row["p_bootstrap"])),
)


def table(systems: Sequence[Row]) -> str:
    """The systems as a table for a terminal, below it what the figures mean, and the tests. Ends in a newline."""
    return _laid_out(systems, text)


def markdown(systems: Sequence[Row]) -> str:
    """The same in Markdown. Ends in a newline."""
    return _laid_out(systems, marked)


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns for which some row has something."""
    return [column for column in columns if any(column.needs in row for row in rows)]


def _laid_out(systems: Sequence[Row], form: Form) -> str:
    lines = [*form(filled(_COLUMNS, systems), systems), "", *_notes(systems)]
    tests = [{"name": system["name"], **test} for system in systems for test in system["tests"]]
    if tests:
        lines += ["", *form(_TESTS, tests), "", *_test_notes(systems[0]["compared"])]
    return "\n".join(lines) + "\n"


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


def percent(ratio: float | None, unit: str = "") -> str:
    """A ratio in percent: ``98.7``, and a dash for none."""
    return NONE if ratio is None else f"{100 * ratio:.1f}{unit}"


def _retention_interval(system: Row) -> str:
    if system["name"] == system["compared"]["reference"]:
        return "reference"
    return interval(system["retention_ci"])


def interval(ends: Sequence[float] | None) -> str:
    """The ends of an interval of ratios, in percent: ``96.7–100.4``, and a dash for none."""
    return NONE if ends is None else "–".join(map(percent, ends))


def signed(points: float) -> str:
    """A difference of scores: ``+0.4``, ``−1.2``, and ``0.0`` where it rounds to nothing."""
    shown = f"{points:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def p_value(p: float | None) -> str:
    """A probability in three decimals: ``0.042``, ``<0.001``, and a dash for none."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(systems: Sequence[Row]) -> list[str]:
    if not systems:
        return []
    compared = systems[0]["compared"]
    devices = dict.fromkeys(system["device"] for system in systems if "device" in system)
    said = f"Retention: {METRICS[compared['metric']]} relative to {compared['reference']}, the best unpruned system"
    if enough(compared["sentences"]):
        said += (
            f"; {100 * compared['confidence']:g} % interval of {compared['resamples']:,} paired bootstrap resamples of "
            f"the {compared['sentences']:,} sentences"
        )
    said += "."
    if devices:
        said += (
            f" Real-time factor: seconds of computing per second of audio. It and peak memory: on "
            f"{' and '.join(devices)}, one utterance at a time."
        )
    lines = textwrap.wrap(said, _NOTE_WIDTH)
    if caution(compared["sentences"]):
        lines.append(caution(compared["sentences"]))
    if any(system["name"] == compared["reference"] and system["retention"] is None for system in systems):
        lines.append(f"There is no retention here: {compared['reference']} scores 0.")
    return lines


def _test_notes(compared: Row) -> list[str]:
    if not enough(compared["sentences"]):
        return [f"Difference: {METRICS[compared['metric']]} of the system minus that of the other."]
    return [
        f"Difference: {METRICS[compared['metric']]} of the system minus that of the other, with its "
        f"{100 * compared['confidence']:g} % interval by paired bootstrap. p: how often",
        f"chance alone would make so large a difference, in {compared['resamples']:,} trials; not corrected for the "
        "number of comparisons.",
    ]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(cell + space if column.left else space + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns a terminal uses: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

"""The table of a run, for a terminal and in Markdown, from what `compare` has written.

Imports nothing heavy: a run in which everything was cached prints its table at once. What reports on a whole sweep is
in the modules beside this one, and ``python -m stc.report`` is its command.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from stc.errors import InputError
from stc.metrics.metric import metric_named
from stc.metrics.records import HYPOTHESES_FILE
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.report.comparison import comparison_rows, metric_names_in, read_comparison
from stc.store.artifact import Artifact
from stc.system.quantities import format_bytes, format_count, format_percent
from stc.system.tables import NONE, Column, Row, TableFormat, filled_columns, markdown_table, terminal_table

_NOTE_WIDTH = 112


def systems(comparison: Artifact, inputs: Mapping[str, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
    """The systems of a comparison, each with where its files are now and what its retention refers to.

    Args:
        comparison: a COMPARISON artifact.
        inputs: the artifacts it was made from, by input name (``scores``, ``models``) and label.

    Raises:
        InputError: when comparison.json is missing or damaged, or ``inputs`` lacks one of its systems.
    """
    rows = comparison_rows(read_comparison(comparison.path))
    for row in rows:
        for kind in ("models", "scores"):
            if row["name"] not in inputs.get(kind, {}):
                raise InputError(f"system {row['name']!r} of {comparison.path} has no artifact among the {kind}")
        row["model_dir"] = str(inputs["models"][row["name"]].path)
        row["hypotheses"] = str(inputs["scores"][row["name"]].path / HYPOTHESES_FILE)
    return rows


def score_columns(systems: Sequence[Row]) -> list[Column]:
    """Return a column for each metric by which some system is scored."""
    return [_score(name) for name in metric_names_in(systems)]


def _score(name: str) -> Column:
    def show(system: Row) -> str:
        score = system.get(name)
        return NONE if score is None else f"{score:.1f}"

    return Column(("", metric_named(name).heading), show)


SYSTEM = Column(("", "system"), lambda row: str(row["name"]), left=True)
SIZES = (
    Column(("decoder", "layers"), lambda row: str(row["layers"])),
    Column(("", "parameters"), lambda row: format_count(row["params"])),
    Column(("packed", "elements"), lambda row: format_count(row["packed_elements"])),
    Column(("bytes", "on disk"), lambda row: format_bytes(row["bytes_on_disk"])),
)
RETENTION = Column(("", "retention"), lambda row: format_percent(row["retention"], " %"))
SPEED = (
    Column(("real-time", "factor"), lambda row: f"{row['rtf']:.3g}", needs="rtf"),
    Column(("peak", "memory"), lambda row: format_bytes(row["peak_memory_bytes"]), needs="peak_memory_bytes"),
)
_INTERVAL = Column(("", "interval"), lambda row: _retention_interval(row))
_TESTS = (
    SYSTEM,
    Column(("", "against"), lambda row: row["against"], left=True),
    Column(("", "difference"), lambda row: format_difference(row["value"])),
    Column(
        ("", "interval"), lambda row: " to ".join(map(format_difference, row["interval"])) if row["interval"] else NONE
    ),
    Column(("p, approximate", "randomization"), lambda row: format_p_value(row["p_randomization"])),
    Column(("p, paired", "bootstrap"), lambda row: format_p_value(row["p_bootstrap"])),
)


def table(systems: Sequence[Row]) -> str:
    """The systems as a table for a terminal, below it what the figures mean, and the tests. Ends in a newline."""
    return _laid_out(systems, terminal_table)


def markdown(systems: Sequence[Row]) -> str:
    """The same in Markdown. Ends in a newline."""
    return _laid_out(systems, markdown_table)


def _laid_out(systems: Sequence[Row], form: TableFormat) -> str:
    columns = [SYSTEM, *SIZES, *score_columns(systems), RETENTION, _INTERVAL, *SPEED]
    lines = [*form(filled_columns(columns, systems), systems), "", *_notes(systems)]
    tests = [{"name": system["name"], **test} for system in systems for test in system["tests"]]
    if tests:
        lines += ["", *form(_TESTS, tests), "", *_test_notes(systems[0]["compared"])]
    return "\n".join(lines) + "\n"


def _retention_interval(system: Row) -> str:
    if system["name"] == system["compared"]["reference"]:
        return "reference"
    return format_interval(system["retention_ci"])


def format_interval(ends: Sequence[float] | None) -> str:
    """The ends of an interval of ratios, in percent: ``96.7–100.4``, and a dash for none."""
    return NONE if ends is None else "–".join(map(format_percent, ends))


def format_difference(points: float) -> str:
    """A difference of scores: ``+0.4``, ``−1.2``, and ``0.0`` where it rounds to nothing."""
    shown = f"{points:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def format_p_value(p: float | None) -> str:
    """A probability in three decimals: ``0.042``, ``<0.001``, and a dash for none."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(systems: Sequence[Row]) -> list[str]:
    if not systems:
        return []
    compared = systems[0]["compared"]
    devices = dict.fromkeys(system["device"] for system in systems if "device" in system)
    quality = metric_named(compared["metric"]).better
    said = f"Retention: {quality} relative to {compared['reference']}, the best unpruned system"
    if enough_sentences(compared["sentences"]):
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
    if sample_size_note(compared["sentences"]):
        lines.append(sample_size_note(compared["sentences"]))
    if any(system["name"] == compared["reference"] and system["retention"] is None for system in systems):
        lines.append(f"There is no retention here: {compared['reference']} scores 0.")
    return lines


def _test_notes(compared: Row) -> list[str]:
    title = metric_named(compared["metric"]).title
    if not enough_sentences(compared["sentences"]):
        return [f"Difference: {title} of the system minus that of the other."]
    return [
        f"Difference: {title} of the system minus that of the other, with its "
        f"{100 * compared['confidence']:g} % interval by paired bootstrap. p: how often",
        f"chance alone would make so large a difference, in {compared['resamples']:,} trials; not corrected for the "
        "number of comparisons.",
    ]

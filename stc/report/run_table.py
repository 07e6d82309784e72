"""The table of a run, or of several runs with different seeds, for a terminal and in Markdown.

Nothing heavy is imported, so that a run in which everything is cached prints its table at once.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stc.errors import InputError
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.score_files import HYPOTHESES_FILE
from stc.report.comparison import comparison_rows, fairness_notes, metric_names_in, read_comparison
from stc.report.output_notes import output_notes, summed_outputs
from stc.store.artifact import Artifact
from stc.system.number_formats import format_bytes, format_count, format_percent
from stc.system.tables import NONE, WIDTH, Column, Row, TableFormat, filled_columns, terminal_table

_SAME = ("layers", "params", "packed_elements", "bytes_on_disk")  # figures that all seeds have alike
_VARYING = ("retention", "rtf", "peak_memory_bytes")


def compared_systems(comparison: Artifact, inputs: Mapping[str, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
    """Return the rows of a comparison, each with the places of its model and its translations.

    Args:
        comparison: a COMPARISON artifact.
        inputs: the artifacts it was made from, by input name (``scores``, ``models``) and label.

    Raises:
        InputError: comparison.json is missing or damaged, or ``inputs`` lacks one of its systems.
    """
    rows = comparison_rows(read_comparison(comparison.path))
    for row in rows:
        for kind in ("models", "scores"):
            if row["name"] not in inputs.get(kind, {}):
                raise InputError(f"system {row['name']!r} of {comparison.path} has no artifact among the {kind}")
        row["model_dir"] = str(inputs["models"][row["name"]].path)
        row["hypotheses"] = str(inputs["scores"][row["name"]].path / HYPOTHESES_FILE)
    return rows


def format_run_table(systems: Sequence[Row], table_format: TableFormat = terminal_table) -> str:
    """Return the table of the systems, the notes on its figures, and the table of tests. It ends in a newline."""
    columns = [SYSTEM, *SIZES, *score_columns(systems), RETENTION, _INTERVAL, *SPEED]
    lines = [*table_format(filled_columns(columns, systems), systems), "", *_notes(systems)]
    tests = [{"name": system["name"], **test} for system in systems for test in system["tests"]]
    if tests:
        lines += ["", *table_format(_TESTS, tests), "", *_test_notes(systems[0]["compared"])]
    return "\n".join(lines) + "\n"


def score_columns(systems: Sequence[Row]) -> list[Column]:
    """Return a column for each metric by which any of the systems is scored."""
    return [_score_column(name) for name in metric_names_in(systems)]


def _score_column(name: str) -> Column:
    def show(system: Row) -> str:
        score = system.get(name)
        return NONE if score is None else f"{score:.1f}"

    return Column(("", metric_named(name).heading), show)


def _show_retention_interval(system: Row) -> str:
    is_reference = system["name"] == system["compared"]["reference"]
    return "reference" if is_reference else format_interval(system["retention_ci"])


def format_interval(ends: Sequence[float] | None) -> str:
    """Return the ends of an interval of ratios, in percent: ``96.7–100.4``, and a dash for None."""
    return NONE if ends is None else "–".join(map(format_percent, ends))


def format_difference(points: float) -> str:
    """Return a difference of scores with its sign: ``+0.4``, ``−1.2``, and ``0.0`` if it rounds to zero."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def format_p_value(p: float | None) -> str:
    """Return a probability in three decimals: ``0.042``, ``<0.001``, and a dash for None."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


SYSTEM = Column(("", "system"), lambda row: str(row["name"]), align_left=True)
SIZES = (
    Column(("decoder", "layers"), lambda row: str(row["layers"])),
    Column(("", "params"), lambda row: format_count(row["params"])),
    Column(("packed", "elements"), lambda row: format_count(row["packed_elements"])),
    Column(("bytes", "on disk"), lambda row: format_bytes(row["bytes_on_disk"])),
)
RETENTION = Column(("", "retention"), lambda row: format_percent(row["retention"], " %"))
SPEED = (
    Column(("real-time", "factor"), lambda row: f"{row['rtf']:.3g}", required_key="rtf"),
    Column(("peak", "memory"), lambda row: format_bytes(row["peak_memory_bytes"]), required_key="peak_memory_bytes"),
)
_INTERVAL = Column(("", "interval"), _show_retention_interval)
_TESTS = (
    SYSTEM,
    Column(("", "against"), lambda row: row["against"], align_left=True),
    Column(("", "difference"), lambda row: format_difference(row["value"])),
    Column(("", "interval"), lambda row: " to ".join(map(format_difference, row["interval"] or ())) or NONE),
    Column(("p, approximate", "randomization"), lambda row: format_p_value(row["p_randomization"])),
    Column(("p, paired", "bootstrap"), lambda row: format_p_value(row["p_bootstrap"])),
)


def retention_note(metric: str, reference: str, best: str, sentences: int, resampling: Mapping[str, Any]) -> str:
    """Return a sentence that says what retention is relative to, and what its interval is if it has one.

    Args:
        best: describes the reference: ``the best unpruned system``.
        resampling: has ``confidence`` and ``resamples``.
    """
    note = f"Retention: {metric_named(metric).better} relative to {reference}, {best}"
    if not enough_sentences(sentences):
        return f"{note}."
    return (
        f"{note}; {100 * resampling['confidence']:g} % interval of {resampling['resamples']:,} paired bootstrap "
        f"resamples of the {sentences:,} sentences."
    )


def speed_note(devices: Iterable[str], figures: str = "It and peak memory") -> str:
    """Return a sentence that says how the real-time factor was measured."""
    where = " and ".join(dict.fromkeys(devices))
    return (
        f"Real-time factor: seconds of computing per second of audio. {figures}: on {where}, one utterance at a time."
    )


def zero_note(reference: str) -> str:
    return f"There is no retention here: {reference} scores 0."


def _notes(systems: Sequence[Row]) -> list[str]:
    if not systems:
        return []
    compared = systems[0]["compared"]
    reference, sentences = compared["reference"], compared["sentences"]
    note = retention_note(compared["metric"], reference, "the best unpruned system", sentences, compared)
    if devices := [system["device"] for system in systems if "device" in system]:
        note += f" {speed_note(devices)}"
    lines = [line for one in (*fairness_notes(compared), note) for line in textwrap.wrap(one, WIDTH)]
    if sample_size_note(sentences):
        lines.append(sample_size_note(sentences))
    if any(system["name"] == reference and system["retention"] is None for system in systems):
        lines.append(zero_note(reference))
    return lines + _output_lines(systems)


def _output_lines(systems: Sequence[Row]) -> list[str]:
    notes = output_notes((system["name"], system) for system in systems)
    return [line for note in notes for line in textwrap.wrap(note, WIDTH)]


def _test_notes(compared: Row) -> list[str]:
    note = f"Difference: {metric_named(compared['metric']).title} of the system minus that of the other"
    if not enough_sentences(compared["sentences"]):
        return [f"{note}."]
    return textwrap.wrap(
        f"{note}, with its {100 * compared['confidence']:g} % interval by paired bootstrap. p: how often chance alone "
        f"would make so large a difference, in {compared['resamples']:,} trials; not corrected for the number of "
        "comparisons.",
        WIDTH,
    )


def summarize(systems: Sequence[Row]) -> str:
    """Return in one sentence what the last system takes and keeps, compared with the first and with the reference."""
    first, last = systems[0], systems[-1]
    text = f"{last['name']} takes {format_bytes(last['bytes_on_disk'])}"
    if last is first:
        return f"{text}."
    times = first["bytes_on_disk"] / last["bytes_on_disk"]
    text += f", {times:.1f} times smaller than {first['name']} ({format_bytes(first['bytes_on_disk'])})"
    compared = last["compared"]
    if last["retention"] is None or last["name"] == compared["reference"]:
        return f"{text}."
    interval = f" ({format_interval(last['retention_ci'])})" if last["retention_ci"] else ""
    return (
        f"{text}, and keeps {format_percent(last['retention'], ' %')}{interval} of the "
        f"{metric_named(compared['metric']).better} of the best unpruned system, {compared['reference']}."
    )


def aggregate_seeds(runs: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """Return each system of several runs once, with its mean figures.

    Args:
        runs: the rows of each seed's comparison; all have the same systems.

    Returns:
        name, ``metric`` (the one of retention), ``metrics``, ``notes`` on the comparison, and the figures of each
        system: means, and under ``…_deviation`` the standard deviation of the sample (n - 1). Both are None if a seed
        has no such figure, and the deviation also if there is only one seed. What :mod:`stc.report.output_notes`
        reads, and ``sentences``, are sums.
    """
    systems = []
    for rows in zip(*runs, strict=True):
        metrics = metric_names_in(rows)
        compared = rows[0]["compared"]
        system = {"name": rows[0]["name"], "metric": compared["metric"], "metrics": metrics}
        system["notes"] = fairness_notes(compared)
        system |= {key: round(statistics.fmean(row[key] for row in rows)) for key in _SAME}
        for key in (*metrics, *_VARYING):
            values = [row.get(key) for row in rows]
            complete = None not in values
            system[key] = statistics.fmean(values) if complete else None
            system[f"{key}_deviation"] = statistics.stdev(values) if complete and len(values) > 1 else None
        system |= summed_outputs(rows)
        system["sentences"] = sum(row["compared"]["sentences"] for row in rows)
        systems.append(system)
    return systems


def format_seeds_table(systems: Sequence[Row], seeds: Sequence[int], table_format: TableFormat = terminal_table) -> str:
    """Return the table of aggregated systems and a note on its figures. It ends in a newline."""
    table = table_format((SYSTEM, *SIZES, *seed_columns(systems)), systems)
    better = metric_named(systems[0]["metric"]).better
    about = f"{deviation_note(seeds)} Retention: {better} relative to the best unpruned system of the same seed."
    notes = [line for one in (*systems[0]["notes"], about) for line in textwrap.wrap(one, WIDTH)]
    return "\n".join([*table, "", *notes, *_output_lines(systems)]) + "\n"


def deviation_note(seeds: Sequence[int]) -> str:
    numbers = ", ".join(map(str, seeds))
    return f"Mean ± standard deviation of the sample over {len(seeds)} seeds ({numbers})."


def seed_columns(systems: Sequence[Row]) -> list[Column]:
    """Return the columns of the figures that differ from seed to seed."""
    return [
        *(_mean_column(("", metric_named(name).heading), name) for name in metric_names_in(systems)),
        _mean_column(("retention", "in %"), "retention", 100),
        _mean_column(("real-time", "factor"), "rtf", digits=".3f"),
    ]


def _mean_column(title: tuple[str, str], key: str, scale: float = 1.0, digits: str = ".1f") -> Column:
    def show(row: Row) -> str:
        mean, deviation = row.get(key), row.get(f"{key}_deviation")
        if mean is None:
            return NONE
        return f"{scale * mean:{digits}} ± " + (NONE if deviation is None else f"{scale * deviation:{digits}}")

    return Column(title, show)

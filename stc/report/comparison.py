"""comparison.json, which the stage ``compare`` writes: the systems, and how they were compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from stc.errors import InputError
from stc.system.read_files import read_json

COMPARISON_FILE = "comparison.json"


@with_config(ConfigDict(extra="allow"))
class ComparedSystem(TypedDict):
    """A system: the keys that every table reads."""

    name: str
    layers: int
    params: int
    packed_elements: int
    bytes_on_disk: int
    retention: float | None
    retention_ci: NotRequired[tuple[float, float] | None]
    score_ci: NotRequired[tuple[float, float] | None]
    tests: list[dict[str, Any]]


@with_config(ConfigDict(extra="allow"))
class Comparison(TypedDict):
    """The shape of comparison.json."""

    metric: str
    reference: str
    resamples: int
    confidence: float
    seed: int
    target_lang: str
    sentences: int
    signatures: dict[str, str]
    left_out: NotRequired[list[str]]
    shared_utterances: NotRequired[dict[str, int]]
    cut_lines: NotRequired[int]
    systems: list[ComparedSystem]


def read_comparison(folder: Path) -> Comparison:
    """Read the comparison of a folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        return read_json(folder / COMPARISON_FILE, Comparison)
    except FileNotFoundError:
        raise InputError(f"{folder / COMPARISON_FILE} is missing") from None


def fairness_notes(compared: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know before the figures of a comparison: splits that share utterances, controls that
    are missing, and utterances that were translated in parts. Each is one sentence."""
    notes = []
    if shared := compared.get("shared_utterances"):
        described = ", ".join(f"{splits} share {count}" for splits, count in shared.items())
        notes.append(f"NOT A FAIR TEST: utterances are in several splits ({described}), by data.allow_leak=true.")
    if left_out := compared.get("left_out"):
        notes.append(f"Controls left out by controls=false: {', '.join(left_out)}.")
    if cut := compared.get("cut_lines"):
        notes.append(
            f"Longer than the model's window, and translated in parts that were cut in pauses: {cut:,} of "
            f"{compared['sentences']:,} utterances."
        )
    return notes


def comparison_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the systems of a comparison.json, each with the rest of the file under ``compared`` and the names of the
    metrics under ``metrics``."""
    compared = {key: value for key, value in content.items() if key != "systems"}
    metrics = list(compared["signatures"])
    return [{**system, "metrics": metrics, "compared": compared} for system in content["systems"]]


def metric_names_in(systems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the metrics by which any of the systems is scored."""
    return list(dict.fromkeys(name for system in systems for name in system["metrics"]))

"""The history of a result in the store: its lineage, its scores, and its size and speed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.errors import ConfigError, InputError
from stc.export.source import ExportSource
from stc.metrics.score_files import Measurement, Scores
from stc.pipeline.stage_by_name import stage_class
from stc.report.comparison import comparison_rows, read_comparison
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.lineage import record_chain
from stc.store.lookup import resolve_artifact

# Settings of the translation if the result was not evaluated.
UNEVALUATED = TranslationSettings(dtype="bfloat16", max_new_tokens=64)


@dataclass(frozen=True)
class LineageStep:
    """A stage on the way from the base to the result.

    Attributes:
        record: of its artifact.
        data: the record of the data it was trained on; empty if there is none.
    """

    record: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def stage(self) -> str:
        return str(self.record["spec"]["stage"])

    @property
    def sentence(self) -> str:
        """A sentence by the stage's own class; with its name only if the class has none or is not installed."""
        sentence = ""
        with suppress(ConfigError, ImportError):
            stage = stage_class(self.stage)
            sentence = stage.describe(self.record["spec"]["config"], self.record["facts"], self.data.get("facts", {}))
        return sentence or f"Stage `{self.stage}` of stc."


@dataclass(frozen=True)
class History:
    """The history of a result, as far as it is known. The card leaves out what is None or empty.

    Attributes:
        steps: from the base on.
        record: of the result.
        base: the name that the run gave its base.
        base_model: the hub id of the base, if it came from the hub.
        dataset: the name that the run gave its data.
        scores: of the result itself, like ``measurement``.
        test_record: the record of the data that it was scored on.
        compared: its row in a comparison.
        evaluation: the settings of its evaluation, or else of that of the result that the user named.
        manifests: folders of data to take an example from, the best first.
    """

    steps: list[LineageStep] = field(default_factory=list)
    record: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    base_model: str | None = None
    dataset: str | None = None
    scores: Scores | None = None
    measurement: Measurement | None = None
    test_record: Mapping[str, Any] = field(default_factory=dict)
    compared: Mapping[str, Any] | None = None
    evaluation: TranslationSettings = field(default_factory=lambda: UNEVALUATED)
    manifests: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class ProofExample:
    """An utterance, as a manifest of one row, and how to translate it."""

    manifest: Manifest
    settings: TranslationSettings


def history_of(source: ExportSource, requested: ExportSource) -> History:
    """Return what the store and the run know of ``source``.

    Args:
        requested: the result that the user named. ``source`` may be the plain model it was packed from; if that was not
            evaluated, it is translated with the settings of this one.
    """
    path = source.run.get("model.path")
    history = History(
        base=source.run.get("model.name"),
        base_model=path if path and not Path(path).is_absolute() and not Path(path).exists() else None,
        dataset=source.run.get("data.name"),
    )
    store, identity = source.store, source.folder.name
    if store is None:
        return history
    steps = [_step(store, record) for record in record_chain(store, source.kind, identity)][::-1]
    scored = next(iter(_made_from(store, Kind.SCORES, identity)), None)
    evaluated = scored or next(iter(_made_from(store, Kind.SCORES, requested.folder.name)), None)
    measured = next(iter(_made_from(store, Kind.MEASUREMENT, identity)), None)
    data = [evaluated[1]["spec"]["inputs"]["data"]] if evaluated else []
    data += [step.record["spec"]["inputs"]["train"] for step in steps if step.data]
    evaluation = UNEVALUATED
    if evaluated:
        evaluation = evaluation_settings(evaluated[1])
    return replace(
        history,
        steps=steps,
        record=source.record,
        scores=Scores.load(scored[0]) if scored else None,
        measurement=Measurement.load(measured[0]) if measured else None,
        test_record=(store.record(Kind.MANIFEST, scored[1]["spec"]["inputs"]["data"]) if scored else None) or {},
        compared=_latest_row(store, identity),
        evaluation=evaluation,
        manifests=[path for path in (store.path(Kind.MANIFEST, one) for one in data) if path.is_dir()],
    )


def evaluation_settings(record: Mapping[str, Any]) -> TranslationSettings:
    """Return the settings by which a model was translated with, from the record of its scores."""
    config = record["spec"]["config"]
    return TranslationSettings.model_validate({key: config[key] for key in TranslationSettings.model_fields})


def proof_example(history: History, data: Path | None) -> ProofExample:
    """Return the first utterance of ``data``, or else of data in the store that the result was made or tested with.

    Raises:
        InputError: there is no such data, or it is no manifest folder.
    """
    folder = resolve_artifact(data, Kind.MANIFEST) if data else next(iter(history.manifests), None)
    if folder is None:
        raise InputError(
            "the proof of the export needs an utterance: name a manifest folder with --data FOLDER (store/manifest/…)"
        )
    manifest = Manifest.load(folder)
    return ProofExample(Manifest(manifest.folder, manifest.task, manifest.rows[:1]), history.evaluation)


def _step(store: Store, record: Mapping[str, Any]) -> LineageStep:
    train = record["spec"]["inputs"].get("train")
    return LineageStep(record, _data_record(store, train) if isinstance(train, str) else {})


def _data_record(store: Store, identity: str) -> Mapping[str, Any]:
    """Return the record of a manifest. The facts of one that joins others have those of each under ``parts``."""
    record = store.record(Kind.MANIFEST, identity) or {}
    inputs = record.get("spec", {}).get("inputs", {})
    joined = {key.removeprefix("parts."): one for key, one in inputs.items() if key.startswith("parts.")}
    if not joined:
        return record
    parts = {label: _data_record(store, one).get("facts", {}) for label, one in joined.items()}
    return {**record, "facts": {**record["facts"], "parts": parts}}


def _made_from(store: Store, kind: Kind, model: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return folder and record of the artifacts of a kind that were made from a model, the latest first."""
    found = [
        (store.path(kind, identity), record)
        for identity in store.identities(kind)
        if (record := store.record(kind, identity)) and model in record["spec"]["inputs"].values()
    ]
    return sorted(found, key=lambda one: (one[0] / RECORD_FILE).stat().st_mtime_ns, reverse=True)


def _latest_row(store: Store, model: str) -> Mapping[str, Any] | None:
    """Return the row of a model in the latest comparison that it is in."""
    for folder, record in _made_from(store, Kind.COMPARISON, model):
        for row in comparison_rows(read_comparison(folder)):
            if record["spec"]["inputs"].get(f"models.{row['name']}") == model:
                return row
    return None

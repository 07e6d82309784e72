"""What the store knows of a result: how it came about, how it scores, what it takes. Nothing is made up for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.errors import ConfigError, InputError
from stc.export.source import ExportSource
from stc.metrics.records import Measurement, Scores
from stc.pipeline.stage_by_name import stage_class
from stc.report.comparison import comparison_rows, read_comparison
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.lineage import record_chain
from stc.store.lookup import resolve_artifact

# How an utterance is translated where no evaluation says how: in the precision of the folder.
UNEVALUATED = TranslationSettings(dtype="bfloat16", max_new_tokens=64)


@dataclass(frozen=True)
class LineageStep:
    """A stage on the way from the base to the result: its record, and that of the data it was trained on, if any."""

    record: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        return str(self.record["spec"]["stage"])

    @property
    def sentence(self) -> str:
        """What the stage did, by the stage's own class; only its name where that says nothing or is not installed."""
        sentence = ""
        with suppress(ConfigError):
            stage = stage_class(self.stage)
            sentence = stage.describe(self.record["spec"]["config"], self.record["facts"], self.data.get("facts", {}))
        return sentence or f"Stage `{self.stage}` of stc."


@dataclass(frozen=True)
class History:
    """What is known of a result. What is not is None or empty, and the card leaves it out.

    Attributes:
        steps: from the base on.
        record: of the result.
        base: the name the run gave its base, where the steps start from a folder outside the store.
        base_model: its hub id, where the base came from the hub.
        dataset: the name the run gave its data.
        scores, measurement: of the result itself.
        tested: the record of the data it was scored on.
        compared: its row in a comparison.
        evaluation: how it, or the model it was asked for by, was evaluated.
        manifests: data in the store to take an example from, the best first.
    """

    steps: list[LineageStep] = field(default_factory=list)
    record: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    base_model: str | None = None
    dataset: str | None = None
    scores: Scores | None = None
    measurement: Measurement | None = None
    tested: Mapping[str, Any] = field(default_factory=dict)
    compared: Mapping[str, Any] | None = None
    evaluation: TranslationSettings = field(default_factory=lambda: UNEVALUATED)
    manifests: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class ProofExample:
    """One utterance and how to translate it."""

    manifest: Manifest
    settings: TranslationSettings


def history_of(source: ExportSource, like: ExportSource) -> History:
    """What the store and the run say of ``source``.

    Args:
        like: the result that was asked for, of which ``source`` may be the plain model; where that was not
            evaluated, it is translated as this one was.
    """
    path = source.run.get("model.path")
    named = History(
        base=source.run.get("model.name"),
        base_model=path if path and not Path(path).is_absolute() and not Path(path).exists() else None,
        dataset=source.run.get("data.name"),
    )
    store, identity = source.store, source.folder.name
    if store is None:
        return named
    steps = list(_steps(store, source.kind, identity))[::-1]
    mine = _newest(store, Kind.SCORES, "model", identity)
    theirs = mine or _newest(store, Kind.SCORES, "model", like.folder.name)
    measured = _newest(store, Kind.MEASUREMENT, "model", identity)
    data = [theirs[1]["spec"]["inputs"]["data"]] if theirs else []
    data += [step.record["spec"]["inputs"]["train"] for step in steps if step.data]
    compute = {key: theirs[1]["spec"]["config"][key] for key in TranslationSettings.model_fields} if theirs else {}
    return replace(
        named,
        steps=steps,
        record=source.record,
        scores=Scores.load(mine[0]) if mine else None,
        measurement=Measurement.load(measured[0]) if measured else None,
        tested=(store.record(Kind.MANIFEST, mine[1]["spec"]["inputs"]["data"]) if mine else None) or {},
        compared=_compared(store, identity),
        evaluation=TranslationSettings.model_validate(compute) if compute else UNEVALUATED,
        manifests=[path for path in (store.path(Kind.MANIFEST, one) for one in data) if path.is_dir()],
    )


def proof_example(history: History, data: Path | None) -> ProofExample:
    """The first utterance of ``data``, or of data in the store that the result has to do with.

    Raises:
        InputError: there is no such data, or it is no manifest folder.
    """
    folder = resolve_artifact(data, Kind.MANIFEST) if data else next(iter(history.manifests), None)
    if folder is None:
        raise InputError(
            "no utterance is at hand to prove the export with: --data FOLDER (store/manifest/…) names some"
        )
    manifest = Manifest.load(folder)
    return ProofExample(Manifest(manifest.folder, manifest.task, manifest.rows[:1]), history.evaluation)


def _steps(store: Store, kind: Kind, identity: str) -> Iterator[LineageStep]:
    """The stages behind a result, the last one first, as far as the store has their records."""
    for record in record_chain(store, kind, identity):
        inputs = record["spec"]["inputs"]
        trained = store.record(Kind.MANIFEST, inputs["train"]) if isinstance(inputs.get("train"), str) else None
        yield LineageStep(record, trained or {})


def _newest(store: Store, kind: Kind, key: str, identity: str) -> tuple[Path, dict[str, Any]] | None:
    """The latest artifact of a kind that was made from ``identity``: its folder and record."""
    made = [
        (folder, record)
        for folder in (store.path(kind, one) for one in store.identities(kind))
        if (record := store.record(kind, folder.name)) and record["spec"]["inputs"].get(key) == identity
    ]
    return max(made, key=lambda one: (one[0] / RECORD_FILE).stat().st_mtime_ns, default=None)


def _compared(store: Store, identity: str) -> Mapping[str, Any] | None:
    """The row of a result in the latest table it stands in."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for folder in (store.path(Kind.COMPARISON, one) for one in store.identities(Kind.COMPARISON)):
        record = store.record(Kind.COMPARISON, folder.name) or {"spec": {"inputs": {}}}
        labels = [
            key.removeprefix("models.")
            for key, made_from in record["spec"]["inputs"].items()
            if key.startswith("models.") and made_from == identity
        ]
        if labels:
            rows = (row for row in comparison_rows(read_comparison(folder)) if row["name"] in labels)
            found += [((folder / RECORD_FILE).stat().st_mtime_ns, row) for row in islice(rows, 1)]
    return max(found, key=lambda one: one[0])[1] if found else None

"""What a run has left in the store: its systems as they were scored, and its searches for layers.

A result.json is read for the identities of the stages and for nothing else; every figure comes from the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.metrics.records import Measurement, Scores
from stc.models.removal import RANKING_FILE, Ranking
from stc.report.comparison import comparison_rows, read_comparison
from stc.store import Store
from stc.store.artifact import Artifact, Kind
from stc.store.run_result import Result
from stc.system.read_files import read_json
from stc.system.tables import Row


@dataclass(frozen=True)
class ScoredSystem:
    """One system as one run has scored it.

    Attributes:
        row: as comparison.json has it, the rest of that file under ``compared``.
        scores: the identity of its scores, which is that of the system on that test set.
        test: the identity of the test set; empty where the store has no record of the scores.
        quality: its sentence-level statistics; None where they cannot be read from the store.
        machine: what it was measured on, as :func:`stc.system.machine.fingerprint` has it.
        unpruned: whether it has as many layers as the most any in its comparison has.
    """

    row: Row
    scores: str
    test: str
    quality: Scores | None
    machine: Mapping[str, object]
    unpruned: bool


@dataclass(frozen=True)
class ReportedRun:
    """What a job has computed with one seed: its comparison's systems in their order, and its searches for layers, by
    name, each the contents of its rankings."""

    seed: int
    systems: Sequence[ScoredSystem]
    searches: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass
class ResultReader:
    """Reads results from stores, each once.

    Attributes:
        forced: the store to read from, whatever a job says.
    """

    forced: Path | None
    _stores: dict[Path, Store] = field(default_factory=dict)
    _measured: dict[tuple[Path, str], Measurement] = field(default_factory=dict)
    _scored: dict[tuple[Path, str], tuple[str, Scores | None]] = field(default_factory=dict)

    def run(self, result: Result, seed: int, root: Path) -> ReportedRun:
        """What a result.json points to.

        Raises:
            InputError: its comparison, or what that was made from, is not in the store or is no such record.
        """
        store = self.open(root)
        stages = [(one["name"], one["identity"]) for one in result.get("stages", [])]
        for _, identity in stages:
            record = store.record(Kind.COMPARISON, identity)
            if record is not None:
                comparison = _artifact(store, Kind.COMPARISON, identity)
                rows = comparison_rows(read_comparison(comparison.path))
                return ReportedRun(seed, self._systems(store, rows, record["spec"]["inputs"]), _searches(store, stages))
        last, identity = stages[-1] if stages else ("none", "was made")
        raise InputError(f"the comparison ({last} {identity}) is not in {store.root}; the same command makes it again")

    def open(self, root: Path) -> Store:
        """The store in ``root``, or the one to read from instead.

        Raises:
            InputError: it is not there.
        """
        root = self.forced or root
        if root not in self._stores:
            if not root.is_dir():
                raise InputError(f"there is no store in {root}: name the folder it is in now (--store FOLDER)")
            self._stores[root] = Store(root)
        return self._stores[root]

    def _systems(self, store: Store, rows: Sequence[Row], inputs: Mapping[str, str]) -> list[ScoredSystem]:
        measured = [self._measurement(store, inputs[f"measurements.{row['name']}"]) for row in rows]
        layers = [one.decoder_layers + one.encoder_layers for one in measured]
        systems = []
        for row, one, has in zip(rows, measured, layers, strict=True):
            identity = inputs[f"scores.{row['name']}"]
            test, quality = self._scores(store, identity)
            systems.append(ScoredSystem(row, identity, test, quality, one.machine, unpruned=has == max(layers)))
        return systems

    def _measurement(self, store: Store, identity: str) -> Measurement:
        key = (store.root, identity)
        if key not in self._measured:
            self._measured[key] = Measurement.load(_artifact(store, Kind.MEASUREMENT, identity).path)
        return self._measured[key]

    def _scores(self, store: Store, identity: str) -> tuple[str, Scores | None]:
        """The test set, and the statistics."""
        key = (store.root, identity)
        if key not in self._scored:
            record = store.record(Kind.SCORES, identity)
            found, _ = store.inspect(Kind.SCORES, identity)
            test = str(record["spec"]["inputs"]["data"]) if record else ""
            self._scored[key] = (test, Scores.load(found.path) if found else None)
        return self._scored[key]


def _artifact(store: Store, kind: Kind, identity: str) -> Artifact:
    found, why = store.inspect(kind, identity)
    if found is None:
        raise InputError(f"the {kind.value} {identity} cannot be read from {store.root}: {why}")
    return found


def _searches(store: Store, stages: Sequence[tuple[str, str]]) -> dict[str, list[Mapping[str, Any]]]:
    """By the name of the stage, the rankings in which layers were compared, as far as the store still has them."""
    searches: dict[str, list[Mapping[str, Any]]] = {}
    for name, identity in stages:
        file = store.path(Kind.RANKING, identity) / RANKING_FILE
        if file.exists():
            content = read_json(file, Ranking)
            if "candidates" in content:  # layers that were drawn or named were not compared
                searches.setdefault(name.split(".")[0], []).append(content)
    return searches

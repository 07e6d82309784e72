"""The results of a run, read from the store: its systems as they were scored, and its searches for layers.

A result.json is read only for the identities of the stages; every figure comes from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stc.errors import InputError
from stc.metrics.score_files import Measurement, Scores
from stc.models.layer_ranking import RANKING_FILE, Ranking
from stc.report.comparison import comparison_rows, read_comparison
from stc.store import Store
from stc.store.artifact import Artifact, Kind
from stc.store.run_result import Result
from stc.system.read_files import read_json
from stc.system.tables import Row


@dataclass(frozen=True)
class ScoredSystem:
    """A system as one run has scored it.

    Attributes:
        row: as in comparison.json, with the rest of that file under ``compared``.
        scores: the identity of its scores, which depends on the system and the test set.
        test: the identity of the test set; empty where the store has no record of the scores.
        quality: its sentence-level statistics; None where the store does not have them.
        machine: the fingerprint of the machine it was measured on (:func:`stc.system.machine.fingerprint`).
        is_unpruned: whether no system of the comparison has more layers.
    """

    row: Row
    scores: str
    test: str
    quality: Scores | None
    machine: Mapping[str, object]
    is_unpruned: bool


@dataclass(frozen=True)
class ReportedRun:
    """The results of a job with one seed.

    Attributes:
        systems: of the comparison, in its order.
        searches: searches for layers by name, each as the contents of its rankings.
    """

    systems: Sequence[ScoredSystem]
    searches: Mapping[str, Sequence[Ranking]]


class ResultReader:
    """A reader of results, which opens each store and reads each file of it once.

    Args:
        store: the folder of the store to read from; None for the store of each job.
    """

    def __init__(self, store: Path | None) -> None:
        self._folder = store
        self._open, self._measurement, self._test_and_scores = cache(_open_store), cache(_measurement), cache(_scores)

    def open(self, root: Path) -> Store:
        """Open the store in ``root``, or the one to read from instead.

        Raises:
            InputError: there is none.
        """
        return self._open(self._folder or root)

    def run(self, result: Result, root: Path) -> ReportedRun:
        """Read what a result.json refers to.

        Raises:
            InputError: its comparison, or something that was made from, is missing from the store or damaged.
        """
        store = self.open(root)
        stages = [(one["name"], one["identity"]) for one in result.get("stages", [])]
        for _, identity in stages:
            record = store.record(Kind.COMPARISON, identity)
            if record is not None:
                rows = comparison_rows(read_comparison(_artifact(store, Kind.COMPARISON, identity).path))
                searches = read_searches((name, store.path(Kind.RANKING, one)) for name, one in stages)
                return ReportedRun(self._systems(store, rows, record["spec"]["inputs"]), searches)
        last, identity = stages[-1] if stages else ("none", "was made")
        raise InputError(f"the comparison ({last} {identity}) is not in {store.root}; the same command makes it again")

    def _systems(self, store: Store, rows: Sequence[Row], inputs: Mapping[str, str]) -> list[ScoredSystem]:
        measured = [self._measurement(store, inputs[f"measurements.{row['name']}"]) for row in rows]
        layers = [one.decoder_layers + one.encoder_layers for one in measured]
        systems = []
        for row, measurement, count in zip(rows, measured, layers, strict=True):
            identity = inputs[f"scores.{row['name']}"]
            test, quality = self._test_and_scores(store, identity)
            unpruned = count == max(layers)
            systems.append(ScoredSystem(row, identity, test, quality, measurement.machine, unpruned))
        return systems


def _open_store(root: Path) -> Store:
    if not root.is_dir():
        raise InputError(f"there is no store in {root}: name the folder it is in now (--store FOLDER)")
    return Store(root)


def _measurement(store: Store, identity: str) -> Measurement:
    return Measurement.load(_artifact(store, Kind.MEASUREMENT, identity).path)


def _scores(store: Store, identity: str) -> tuple[str, Scores | None]:
    """Return the identity of the test set, and the statistics."""
    record = store.record(Kind.SCORES, identity)
    found, _ = store.inspect(Kind.SCORES, identity)
    return str(record["spec"]["inputs"]["data"]) if record else "", Scores.load(found.path) if found else None


def _artifact(store: Store, kind: Kind, identity: str) -> Artifact:
    found, why = store.inspect(kind, identity)
    if found is None:
        raise InputError(f"the {kind.value} {identity} cannot be read from {store.root}: {why}")
    return found


def read_searches(rankings: Iterable[tuple[str, Path]]) -> dict[str, list[Ranking]]:
    """Return the rankings in which layers were compared, by the name of the search.

    Args:
        rankings: name of the stage (``importance.2``) and folder of the artifact. Folders without a ranking, or with a
            damaged one, are left out.
    """
    searches: dict[str, list[Ranking]] = {}
    for name, folder in rankings:
        with suppress(FileNotFoundError, InputError):
            content = read_json(folder / RANKING_FILE, Ranking)
            if "candidates" in content:  # drawn or named layers were not compared
                searches.setdefault(name.split(".")[0], []).append(content)
    return searches

"""The system that is handed in: a model of a run, what it was made with, and how large it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.decoding.hypotheses import TranslationSettings
from stc.decoding.options import OutputRules
from stc.errors import InputError
from stc.export.history import History, evaluation_settings, history_of
from stc.export.source import MIX, ExportSource, find_source
from stc.metrics.score_files import Size
from stc.metrics.size import size_of
from stc.models.folder import ModelFolder
from stc.models.language_pair import Task
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.run_result import RESULT_FILE, Result
from stc.system.language_tags import primary_language
from stc.system.read_files import read_json

_ACL6060 = re.compile(r"acl[\W_]*60[\W_]*60", re.IGNORECASE)


@dataclass(frozen=True)
class SubmittedSystem:
    """A system of a run.

    Attributes:
        name: in the run's table.
        task: the language pair.
        storage_bytes: of every file of the model.
        techniques: a sentence each, in the order in which they were applied.
        datasets: names of the data that it was made with.
        hypotheses: the file with its translations of the run's own test set.
        settings: by which it was evaluated.
        rules: what was removed from its translations before they were scored.
    """

    name: str
    source: ExportSource
    task: Task
    history: History
    size: Size
    storage_bytes: int
    techniques: Sequence[str]
    datasets: Sequence[str]
    hypotheses: Path
    settings: TranslationSettings
    rules: OutputRules

    @property
    def language_pair(self) -> str:
        """The pair as ``en-de``, without script and region."""
        return f"{primary_language(self.task.source_lang)}-{primary_language(self.task.target_lang)}"

    @property
    def only_acl6060(self) -> bool:
        """Return whether every data set that it was made with is ACL 60/60 by its name."""
        return all(_ACL6060.search(name) for name in self.datasets)


def find_system(run: Path, name: str | None = None, further_data: Sequence[str] = ()) -> SubmittedSystem:
    """Return a system of a run.

    Args:
        run: the run's folder.
        name: in the run's table; None for the last, which is the compressed model.
        further_data: names of data that it was made with beside those that the run and its store know.

    Raises:
        InputError: the folder is no run's, the system is unknown, is an adapter or was not compressed, or it is not
            known which data it was made with.
        ModelError: the model is damaged.
    """
    if not (run / RESULT_FILE).is_file():
        raise InputError(
            f"{run} is not the folder of a run, which has {RESULT_FILE}: outputs/DATE/TIME, or a sweep's job"
        )
    source = find_source(run, name)
    if source.form == "adapter":
        raise InputError(f"{run}: {source.folder} is an adapter without its base; a hand-in is a whole model")
    rows = {row["name"]: row for row in read_json(run / RESULT_FILE, Result)["systems"]}
    row = rows[name or list(rows)[-1]]
    history = history_of(source, source)
    techniques = list(_techniques(source, history))
    if not techniques:
        raise InputError(f"{source.folder}: nothing that was done to it is in the store, so there are no techniques")
    datasets = list(dict.fromkeys([*_datasets(source, history), *further_data]))
    if not datasets:
        raise InputError(f"{run} does not say which data the model was made with: name them with --dataset NAME")
    if "lang.code" not in source.run:
        raise InputError(f"{run}/.hydra/config.yaml is missing or has no lang.code: the target language is not known")
    hypotheses = Path(row["hypotheses"])
    record = Store(hypotheses.parent.parent.parent).record(Kind.SCORES, hypotheses.parent.name)
    return SubmittedSystem(
        name=row["name"],
        source=source,
        task=Task(target_lang=source.run["lang.code"], target_name=source.run.get("lang.name", "")),
        history=history,
        size=size_of(source.folder),
        storage_bytes=storage_bytes(ModelFolder.of(source.folder)),
        techniques=techniques,
        datasets=datasets,
        hypotheses=hypotheses,
        settings=evaluation_settings(record) if record else history.evaluation,
        rules=OutputRules.model_validate((record or {}).get("spec", {}).get("config", {}).get("decoding", {})),
    )


def storage_bytes(model: ModelFolder) -> int:
    """Return the size of a model on disk: of its weights, config, tokenizer and processor."""
    return sum(file.stat().st_size for file in model.files)


def _techniques(source: ExportSource, history: History) -> Iterator[str]:
    for step in history.steps:
        yield step.sentence
        if step.stage == "prune" and (method := source.run.get("prune.method")):
            yield f"The layers to remove were chosen by the method `{method}`."


def _datasets(source: ExportSource, history: History) -> Iterator[str]:
    """Yield the names that the run gave its data, and the hub's names of all that the model was trained on."""
    if history.dataset:
        yield history.dataset
    yield from (name for key, name in source.run.items() if key.startswith(f"{MIX}."))
    if source.store is not None:
        for step in history.steps:
            yield from _hub_names(source.store, step.data)


def _hub_names(store: Store, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of hub data that a manifest was made of, by its own record or by those of its inputs."""
    spec = record.get("spec", {})
    if dataset := (spec.get("surroundings", {}).get("source") or {}).get("dataset"):
        yield str(dataset)
    for identity in spec.get("inputs", {}).values():
        if isinstance(identity, str):
            yield from _hub_names(store, store.record(Kind.MANIFEST, identity) or {})

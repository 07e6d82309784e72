"""The interface of metrics, their lookup by name, and the scoring of texts.

A corpus score is a function of sums over sentences. A score is stored with these sentence-level numbers (its
"sufficient statistics"), so that a bootstrap over sentences never has to read the text again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from stc.errors import ConfigError, InputError, validate_model
from stc.system.extension_lookup import class_by_name, module_names
from stc.system.hub_files import HubFiles, HubUnreachable

Settings = Mapping[str, Mapping[str, Any]]
"""Settings of metrics by name."""

Rows = Sequence[Sequence[float]]
"""Statistics of sentences, (sentences, statistics), or sums of them, (corpora, statistics)."""


class Metric(BaseModel, ABC):
    """A score of translations on a scale of about 0 to 100. Its fields are settings (``metrics.settings.NAME``).

    Heavy libraries are imported inside the methods. A metric that needs another Python asks it by
    :func:`stc.system.subprocess_json.run_json`.

    Attributes:
        title: the name in print.
        lower_is_better: true for an error rate.
        needs_source: whether ``statistics`` reads the source texts, which are missing otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    VERSION: ClassVar[int] = 1
    """Raise it when the same texts get another score. Above 1 it is part of the identity of what was scored."""

    title: ClassVar[str]
    lower_is_better: ClassVar[bool] = False
    needs_source: ClassVar[bool] = False

    @abstractmethod
    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[list[float]]:
        """Return the numbers that a corpus score sums: one row for each sentence, all of the same length."""

    @abstractmethod
    def from_statistics(self, totals: Rows) -> list[float]:
        """Return the score of each corpus, from the sums of the rows of its sentences."""

    @abstractmethod
    def signature(self, target_lang: str) -> str:
        """Return, in one line, everything that is needed to compute the same score again."""

    def check_ready(self, target_lang: str) -> None:
        """Check, before anything runs, that the metric is for this language and has what it needs on this machine.

        Raises:
            InputError: says what is missing and how to get it.
        """
        return

    def needs_references(self) -> bool:
        """Return whether ``statistics`` compares with references. May load a model to know."""
        return True

    def downloads(self) -> Iterator[HubFiles]:
        """Yield what is read of the Hugging Face hub; by default nothing."""
        return iter(())

    def check_downloads(self) -> None:
        """Check, before a run starts, that what is read of the hub is on this machine, or that the hub gives it.

        Raises:
            InputError: says what is missing and how to get it.
        """
        for files in self.downloads():
            if not files.is_here():
                try:
                    files.listed()
                except HubUnreachable as error:
                    raise InputError(
                        f"{files.what}: {files.name} is not complete in this machine's cache of the hub; with a "
                        f"network, python -m stc.pull fetches it ({error})"
                    ) from None
                except InputError as error:
                    raise InputError(f"{files.what}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide a score, for the identity of what is scored."""
        return self.model_dump(mode="json")

    @property
    def heading(self) -> str:
        """The title as a column heading."""
        return f"{self.title} (lower is better)" if self.lower_is_better else self.title

    @property
    def better(self) -> str:
        """The title of the quantity that retention divides, of which more is better."""
        return f"1/{self.title}" if self.lower_is_better else self.title

    def goodness(self, score: float) -> float:
        """Return ``score`` with its sign changed where lower is better, so that more is always better."""
        return -score if self.lower_is_better else score

    def retention(self, score: float, reference: float) -> float | None:
        """Return the part of the quality of ``reference`` that is kept, 1 for all of it.

        It is the ratio of the scores, or its inverse where lower is better; None where a score of 0 leaves it open.
        """
        part, whole = (reference, score) if self.lower_is_better else (score, reference)
        return part / whole if whole > 0 and reference > 0 else None


class SentenceMetric(Metric):
    """A metric that scores one sentence at a time. The score of a corpus is the mean."""

    @abstractmethod
    def scores(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> Iterable[float]:
        """Return the score of each sentence."""

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[list[float]]:
        return [[float(score), 1] for score in self.scores(hypotheses, references, sources, target_lang)]

    def from_statistics(self, totals: Rows) -> list[float]:
        return [total / sentences for total, sentences in totals]


outside: dict[str, Metric] = {}
"""Metrics that are computed elsewhere, by name (:mod:`stc.metrics.outside_scores`)."""


def metric_names() -> list[str]:
    """Return the names of the metrics that stc has."""
    return module_names("stc.metrics.text")


@cache
def metric_named(name: str) -> Metric:
    """Return the metric of a file in ``stc/metrics/text`` (``chrf``) or of a module by its path (``lab.metrics.ter``).

    It has default settings, with which everything is known but how texts are scored.

    Raises:
        ConfigError: there is no such metric.
    """
    return metric_with(name, {})


def metric_with(name: str, settings: Settings) -> Metric:
    """Return a metric with its settings, which are found under its name.

    Raises:
        ConfigError: there is no such metric, or it has no such settings.
    """
    if name in outside:
        return outside[name]
    cls = class_by_name("stc.metrics.text", name, Metric, "metric")  # type: ignore[type-abstract]
    return validate_model(cls, settings.get(name, {}), f"metrics.settings.{name}")


def validated_name(name: str, *others: str) -> str:
    """Return the name of a metric, or one of ``others``.

    Raises:
        ValueError: it is neither; pydantic wants this error of a validator.
    """
    if name not in others:
        try:
            metric_named(name)
        except ConfigError as error:
            raise ValueError("".join(f"{other}, or " for other in others) + error.faults[0].allowed) from None
    return name


MetricName = Annotated[str, AfterValidator(lambda name: validated_name(name))]
"""A field that names a metric."""


def metric_identities(names: Iterable[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the versions above 1 and the settings of these metrics, for the environment of a stage that scores."""
    metrics = {name: metric_with(name, settings) for name in names}
    versions = {name: metric.VERSION for name, metric in metrics.items() if metric.VERSION > 1}
    decisive = {name: identity for name, metric in metrics.items() if (identity := metric.identity())}
    return ({"metric_versions": versions} if versions else {}) | ({"metric_settings": decisive} if decisive else {})


def statistics(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_lang: str,
    sources: Sequence[str] = (),
    metric: Metric | None = None,
) -> list[list[float]]:
    """Return the statistics of a metric, one row for each sentence, with one reference each.

    Args:
        metric: the metric of this name with settings; by default, with none.

    Raises:
        ConfigError: the metric is unknown.
        InputError: something it needs is missing (a package, the sources), there are no sentences, or the numbers of
            hypotheses, references and rows differ.
    """
    scorer = metric or metric_named(name)
    if len(hypotheses) != len(references):
        raise InputError(f"{name}: {len(hypotheses)} hypotheses for {len(references)} references")
    if not references:
        raise InputError(f"{name}: there are no sentences to score")
    if scorer.needs_source and len(sources) != len(references):
        raise InputError(f"{name} reads the source texts: {len(sources)} of them for {len(references)} references")
    rows = scorer.statistics(hypotheses, references, sources, target_lang)
    if len(rows) != len(references):
        raise InputError(f"{name}: {len(rows)} rows of statistics for {len(references)} references")
    return rows


def corpus_score(name: str, rows: Rows) -> float:
    """Return the score of the corpus whose sentences have these statistics."""
    return metric_named(name).from_statistics([[sum(column) for column in zip(*rows, strict=True)]])[0]


def score(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_lang: str,
    sources: Sequence[str] = (),
    metric: Metric | None = None,
) -> float:
    """Return the score of a corpus. Arguments and errors are those of :func:`statistics`."""
    return corpus_score(name, statistics(name, hypotheses, references, target_lang, sources, metric))

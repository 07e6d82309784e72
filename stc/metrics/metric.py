"""What a metric is, and which there are: a file of ``stc/metrics`` each, or a module of anybody's package.

A corpus score is a function of sums over sentences. Those sentence-level numbers ("sufficient statistics") are kept
with a score, so that a bootstrap over sentences never has to read the text again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from stc.errors import InputError, nearest
from stc.system.extensions import imported

Rows = Sequence[Sequence[float]]
"""(sentences, statistics), or sums of them: (corpora, statistics)."""


class Metric(ABC):
    """A score of translations, in points of the order of 0 to 100: a share is multiplied by 100.

    Heavy libraries are imported inside its methods. One that another Python has to compute asks it there, by
    :func:`stc.system.subprocess_json.ask`.

    Attributes:
        title: its name in print.
        lower_is_better: as of an error rate.
        needs_source: whether ``statistics`` reads the source texts, which otherwise may be missing.
    """

    VERSION: ClassVar[int] = 1
    """Raised when the same texts get another score; above 1 it is part of the identity of whatever was scored."""

    title: ClassVar[str]
    lower_is_better: ClassVar[bool] = False
    needs_source: ClassVar[bool] = False

    @abstractmethod
    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[list[float]]:
        """Return what is summed for a corpus score: a row for each sentence, all equally long."""

    @abstractmethod
    def from_statistics(self, totals: Rows) -> list[float]:
        """Return the score of each corpus, from the sums of its sentences' rows."""

    @abstractmethod
    def signature(self, target_lang: str) -> str:
        """Return everything that is needed to compute the same score again, in a line."""

    def check_ready(self, target_lang: str) -> None:
        """Refuse a language that the metric is not for, or a machine that lacks what it needs, before anything runs.

        Raises:
            InputError: saying what is missing, and how it is had.
        """
        return

    @property
    def heading(self) -> str:
        """The title where scores stand below it."""
        return f"{self.title} (lower is better)" if self.lower_is_better else self.title

    @property
    def better(self) -> str:
        """The title of something of which more is better: retention is a ratio of it."""
        return f"1/{self.title}" if self.lower_is_better else self.title

    def goodness(self, score: float) -> float:
        """Return ``score`` turned so that more of it is better."""
        return -score if self.lower_is_better else score

    def retention(self, score: float, reference: float) -> float | None:
        """Return how much of the quality of ``reference`` is kept, 1 for all: the ratio of the scores, or the inverse
        of it where lower is better. None where a score of 0 leaves it open."""
        part, whole = (reference, score) if self.lower_is_better else (score, reference)
        return part / whole if whole > 0 and reference > 0 else None


class SentenceMetric(Metric):
    """A metric that scores one sentence at a time; the score of a corpus is the mean."""

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


def metric_names() -> list[str]:
    """Return the metrics that stc has: the modules of this package that define a ``METRIC``."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if "\nMETRIC" in file.read_text("utf-8"))


@cache
def metric_named(name: str, *others: str) -> Metric:
    """Return the ``METRIC`` of a module.

    Args:
        name: of a file in ``stc/metrics`` (``chrf``), or the dotted path of a module (``lab.metrics.ter``), which is
            looked for where Python looks and in the folder that ``conf/`` is in.
        others: what a setting takes beside metrics, for the message.

    Raises:
        InputError: there is no such metric.
    """
    if "." not in name and name not in (known := metric_names()):
        allowed = [*known, *others]
        raise InputError(
            f"metric {name!r} is unknown: one of {', '.join(allowed)}{nearest(name, allowed)}; PACKAGE.MODULE is one "
            "of yours"
        )
    try:
        module = imported(name) if "." in name else import_module(f"stc.metrics.{name}")
    except LookupError as error:
        raise InputError(f"metric {name!r}: {error}") from None
    found = getattr(module, "METRIC", None)
    if not isinstance(found, Metric):
        raise InputError(f"metric {name!r}: its module must have a METRIC, an instance of {Metric.__module__}.Metric")
    return found


def validated_name(name: str, *others: str) -> str:
    """Return the name of a metric, or one of ``others``.

    Raises:
        ValueError: it is neither, as pydantic asks of a validator.
    """
    if name not in others:
        try:
            metric_named(name, *others)
        except InputError as error:
            raise ValueError(str(error)) from None
    return name


MetricName = Annotated[str, AfterValidator(lambda name: validated_name(name))]
"""A field that names a metric."""


def raised_versions(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return what those metrics add to the environment of a stage that scores: their versions above 1."""
    raised = {name: metric_named(name).VERSION for name in names if metric_named(name).VERSION > 1}
    return {"metric_versions": raised} if raised else {}


def statistics(
    name: str, hypotheses: Sequence[str], references: Sequence[str], target_lang: str, sources: Sequence[str] = ()
) -> list[list[float]]:
    """Return the statistics of a metric, a row for each sentence, with one reference each.

    Raises:
        InputError: for an unknown metric, one that lacks something (a package, the sources), an empty corpus, or
            unequal numbers of hypotheses, references and rows.
    """
    scorer = metric_named(name)
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
    name: str, hypotheses: Sequence[str], references: Sequence[str], target_lang: str, sources: Sequence[str] = ()
) -> float:
    """Return the score of a corpus.

    Raises:
        InputError: as :func:`statistics`.
    """
    return corpus_score(name, statistics(name, hypotheses, references, target_lang, sources))

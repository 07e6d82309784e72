"""A sweep's systems side by side: a table a language, in which all are compared with one and the same system.

In a run's own table retention refers to the best unpruned system of that run. In a sweep those differ (a control that
is healed differs with the healing), and ratios to different systems say nothing about each other. Here there is one
reference for a language and a test set: the best unpruned system of all the jobs. Retention and its interval are
computed anew from the sentence-level statistics in the store.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.config.languages import language_codes, load_language
from stc.config.override_names import key_suffixes, short_names
from stc.errors import InputError, suggestion
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences
from stc.metrics.significance import Resampling, retention
from stc.report.jobs import ReportedJob
from stc.report.results import ScoredSystem
from stc.report.seeds import aggregate_seeds
from stc.system.tables import Row


@dataclass(frozen=True)
class TableLine:
    """A line of a table: a system of one job, or a control, which all jobs that have the same share.

    Attributes:
        settings: key → value, of a control those only that decide which it is.
        jobs: all that have it.
        systems: as they were scored, one a seed.
        row: its figures, as in comparison.json, or as :func:`stc.report.seeds.aggregate_seeds` gives them;
            ``retention`` is relative to the reference of the group, and ``is_reference`` says whether that is this one.
    """

    name: str
    settings: Mapping[str, Any]
    jobs: Sequence[ReportedJob]
    systems: Sequence[ScoredSystem]
    control: bool
    row: Row

    @property
    def identity(self) -> tuple[str, ...]:
        return tuple(system.scores for system in self.systems)


@dataclass(frozen=True)
class Group:
    """What can be compared: systems scored in one language, on one test set, by one metric, with the same seeds.

    Attributes:
        keys: the settings in which its jobs differ.
        fixed: key → value of those in which they do not, but jobs of other groups do.
        reference: what retention refers to, by name and settings, and ``reference_name``, the same in words.
        resampling: how intervals are computed.
    """

    lang: str
    metric: str
    test: str
    seeds: tuple[int, ...]
    sentences: int
    jobs: Sequence[ReportedJob]
    keys: Sequence[str]
    fixed: Mapping[str, Any]
    lines: Sequence[TableLine]
    reference: Sequence[ScoredSystem]
    reference_name: str
    resampling: Resampling

    @property
    def language(self) -> str:
        return load_language(self.lang).name if self.lang in language_codes() else self.lang


def groups(jobs: Sequence[ReportedJob], systems: str | None = None) -> list[Group]:
    """The tables of a sweep, in the order of its jobs, which those without a result are not in.

    Args:
        systems: which systems of each job have a line: the controls and its last one (None), ``all``, ``controls``, or
            names with commas between.

    Raises:
        InputError: no job has a system of a name asked for.
    """
    done = [job for job in jobs if job.runs]
    _known(systems, done)
    members: dict[tuple[Any, ...], list[ReportedJob]] = {}
    for job in done:
        members.setdefault(_comparable(job), []).append(job)
    varying = _varying(jobs)
    return [_group(several, varying, systems) for several in members.values()]


def _comparable(job: ReportedJob) -> tuple[Any, ...]:
    first = job.runs[0].systems
    compared = first[0].row["compared"]
    test = next((system.test for system in first if system.test), "")
    return compared["target_lang"], compared["metric"], test, compared["sentences"], job.seeds


def _varying(jobs: Sequence[ReportedJob]) -> list[str]:
    """The keys of which the jobs have several values."""
    keys = jobs[0].settings if jobs else {}
    return [key for key in keys if len({format_setting(job.settings[key]) for job in jobs}) > 1]


def _known(systems: str | None, jobs: Sequence[ReportedJob]) -> None:
    names = dict.fromkeys(system.row["name"] for job in jobs for system in job.runs[0].systems)
    for name in (systems or "all").split(","):
        if name not in (*names, "all", "controls"):
            raise InputError(
                f"--systems {name}: no job has such a system; there are all, controls, {', '.join(names)}"
                f"{suggestion(name, names)}"
            )


def _group(jobs: Sequence[ReportedJob], varying: Sequence[str], systems: str | None) -> Group:
    lang, metric, test, sentences, seeds = _comparable(jobs[0])
    keys = [key for key in varying if key in _varying(jobs)]
    everything = [_Place(job, position) for job in jobs for position in range(len(job.runs[0].systems))]
    unpruned = [place for place in everything if place.systems[0].unpruned]
    best = max(unpruned, key=lambda place: metric_named(metric).goodness(place.score(metric)))
    compared = best.systems[0].row["compared"]
    resampling = Resampling(resamples=compared["resamples"], confidence=compared["confidence"], seed=compared["seed"])
    figures = _Figures(metric, best.systems, resampling)
    lines = []
    for places, settings in _merged([place for place in everything if place.wanted(systems)], keys):
        first = places[0]
        lines.append(
            TableLine(
                name=first.name,
                settings=settings,
                jobs=[place.job for place in places],
                systems=first.systems,
                control=first.control,
                row={"name": first.name, "settings": settings, **figures.of(first.systems)},
            )
        )
    lines.sort(key=lambda line: not line.control)
    ((_, settings),) = [
        (places, settings) for places, settings in _merged(unpruned, keys) if any(place is best for place in places)
    ]
    return Group(
        lang=lang,
        metric=metric,
        test=test,
        seeds=seeds,
        sentences=sentences,
        jobs=jobs,
        keys=keys,
        fixed={key: jobs[0].settings[key] for key in varying if key not in keys and key != "lang"},
        lines=lines,
        reference=best.systems,
        reference_name=describe_system(best.name, settings, keys),
        resampling=resampling,
    )


@dataclass(frozen=True)
class _Place:
    """A system of a job, by its place in the comparison."""

    job: ReportedJob
    position: int

    @property
    def systems(self) -> list[ScoredSystem]:
        return [run.systems[self.position] for run in self.job.runs]

    @property
    def name(self) -> str:
        return str(self.systems[0].row["name"])

    @property
    def last(self) -> bool:
        return self.position == len(self.job.runs[0].systems) - 1

    @property
    def control(self) -> bool:
        return self.systems[0].unpruned and not self.last

    def score(self, metric: str) -> float:
        return statistics.fmean(system.row[metric] for system in self.systems)

    def wanted(self, systems: str | None) -> bool:
        if systems is None:
            return self.control or self.last
        names = systems.split(",")
        return "all" in names or self.name in names or ("controls" in names and self.control)


def _merged(places: Sequence[_Place], keys: Sequence[str]) -> Iterator[tuple[list[_Place], dict[str, Any]]]:
    """Places of the same control as one, each with its settings. What is no control stands alone with all of its."""
    same: dict[tuple[Any, ...], list[_Place]] = {}
    for number, place in enumerate(places):
        scores = tuple(system.scores for system in place.systems)
        same.setdefault((place.name, scores) if place.control else (number,), []).append(place)
    for shared in same.values():
        first = shared[0]
        if not first.control:
            yield shared, {key: first.job.settings[key] for key in keys}
            continue
        others = [several for several in same.values() if several[0].control and several[0].name == first.name]
        deciding = [key for key in keys if len(others) > 1 and all(_agree(several, key) for several in others)]
        yield shared, {key: first.job.settings[key] for key in deciding}


def _agree(places: Iterable[_Place], key: str) -> bool:
    return len({format_setting(place.job.settings[key]) for place in places}) == 1


@dataclass(frozen=True)
class _Figures:
    """Computes the figures of systems, retention relative to ``reference``."""

    metric: str
    reference: Sequence[ScoredSystem]
    resampling: Resampling

    def of(self, systems: Sequence[ScoredSystem]) -> dict[str, Any]:
        kept = [self._retention(*pair) for pair in zip(systems, self.reference, strict=True)]
        rows = [{**one.row, **figures} for one, figures in zip(systems, kept, strict=True)]
        if not enough_sentences(rows[0]["compared"]["sentences"]):  # older comparisons in a store have intervals
            rows = [{**row, "score_ci": None} for row in rows]
        figures: dict[str, Any] = aggregate_seeds([[row] for row in rows])[0] if len(rows) > 1 else rows[0]
        is_reference = [one.scores for one in systems] == [one.scores for one in self.reference]
        return {**figures, "is_reference": is_reference}

    def _retention(self, system: ScoredSystem, reference: ScoredSystem) -> dict[str, Any]:
        if system.quality is None or reference.quality is None:  # the scores themselves are in the comparison
            kept = metric_named(self.metric).retention(system.row[self.metric], reference.row[self.metric])
            return {"retention": kept, "retention_ci": None}
        ours, theirs = (one.metrics[self.metric].statistics for one in (system.quality, reference.quality))
        found = retention(self.metric, ours, theirs, **self.resampling)
        return {"retention": found.value, "retention_ci": found.interval}


def format_setting(value: Any) -> str:
    """A setting in a table."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_system(name: str, settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """A system in words: its name, and in brackets the settings that tell it from others of that name."""
    names = short_names(keys)
    told = ", ".join(f"{names[key]}={format_setting(value)}" for key, value in settings.items())
    return f"{name} ({told})" if told else name


def resolve_key(asked: str, keys: Sequence[str]) -> str:
    """The key that is meant by it or by an end of it.

    Raises:
        InputError: none is, or several are.
    """
    found = [key for key in keys if asked == key] or [key for key in keys if asked in key_suffixes(key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{asked!r} may be {' or '.join(found)}: name it in full")
    known = dict.fromkeys([*short_names(keys).values(), *keys])
    there = f"they were given {', '.join(keys)}" if keys else "they were given none"
    raise InputError(f"{asked!r} is no setting of these jobs: {there}{suggestion(asked, known)}")

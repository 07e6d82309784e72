"""The systems of a sweep side by side: a table for each language, in which all are compared with the same system.

In the table of a single run, retention is relative to the best unpruned system of that run. In a sweep these differ (a
control that is healed differs with the healing), and ratios to different systems cannot be compared. Here the reference
is the best unpruned system of all jobs with the same language and test set. Retention and its interval are computed
again from the sentence-level statistics in the store.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.config.job_names import key_suffixes, short_names
from stc.config.languages import language_codes, load_language
from stc.errors import InputError, suggestion
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences
from stc.metrics.significance import Resampling, retention
from stc.models.layer_ranking import Ranking
from stc.report.comparison import fairness_notes
from stc.report.run_table import aggregate_seeds
from stc.report.stored_results import ScoredSystem
from stc.report.sweep_jobs import ReportedJob
from stc.system.number_formats import format_setting
from stc.system.tables import Row


@dataclass(frozen=True)
class TableLine:
    """A line of a table: a system of one job, or a control, which several jobs may share.

    Attributes:
        settings: key → value; of a control only the settings that decide which control it is.
        jobs: all jobs that have it.
        systems: one for each seed, as they were scored.
        row: the figures, as in comparison.json or as :func:`stc.report.run_table.aggregate_seeds` returns them;
            ``retention`` is relative to the reference of the group, and ``is_reference`` says whether this is it.
    """

    name: str
    settings: Mapping[str, Any]
    jobs: Sequence[ReportedJob]
    systems: Sequence[ScoredSystem]
    is_control: bool
    row: Row

    @property
    def identity(self) -> tuple[str, ...]:
        return tuple(system.scores for system in self.systems)


@dataclass(frozen=True)
class Group:
    """Systems that can be compared: scored in one language, on one test set, by one metric, with the same seeds.

    Attributes:
        test: the identity of the test set.
        keys: the settings in which its jobs differ.
        fixed: key → value of the settings in which jobs of other groups differ, and its own do not.
        reference: the system that retention is relative to, one for each seed.
        reference_name: its name and settings, in words.
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
    def fairness_notes(self) -> list[str]:
        """The notes that a reader must know before the figures (:func:`stc.report.comparison.fairness_notes`)."""
        systems = (system for line in self.lines for system in line.systems)
        return list(dict.fromkeys(note for system in systems for note in fairness_notes(system.row["compared"])))

    @property
    def language(self) -> str:
        return load_language(self.lang).name if self.lang in language_codes() else self.lang


def group_jobs(jobs: Sequence[ReportedJob], systems: str | None = None) -> list[Group]:
    """Return the groups of a sweep, in the order of its jobs. Jobs without a result are in none.

    Args:
        systems: the systems of each job that have a line: ``all``, ``controls``, or names with commas between; None for
            the controls and the last system.

    Raises:
        InputError: no job has a system of a given name.
    """
    done = [job for job in jobs if job.runs]
    _check_names(systems, done)
    members: dict[tuple[Any, ...], list[ReportedJob]] = {}
    for job in done:
        members.setdefault(_group_key(job), []).append(job)
    varying = varying_keys(jobs)
    return [_group(several, varying, systems) for several in members.values()]


def varying_keys(jobs: Sequence[ReportedJob]) -> list[str]:
    """Return the settings in which the jobs differ."""
    keys = jobs[0].settings if jobs else {}
    return [key for key in keys if not _agree(jobs, key)]


def _agree(jobs: Iterable[ReportedJob], key: str) -> bool:
    return len({format_setting(job.settings[key]) for job in jobs}) == 1


def _group_key(job: ReportedJob) -> tuple[Any, ...]:
    systems = job.runs[0].systems
    compared = systems[0].row["compared"]
    test = next((system.test for system in systems if system.test), "")
    shared = tuple(compared.get("shared_utterances", {}).items())  # no fair test stands beside one that is not
    return compared["target_lang"], compared["metric"], test, compared["sentences"], job.seeds, shared


def _check_names(systems: str | None, jobs: Sequence[ReportedJob]) -> None:
    names = dict.fromkeys(system.row["name"] for job in jobs for system in job.runs[0].systems)
    for name in (systems or "all").split(","):
        if name not in (*names, "all", "controls"):
            raise InputError(
                f"--systems {name}: no job has such a system; there are all, controls, {', '.join(names)}"
                f"{suggestion(name, names)}"
            )


def _group(jobs: Sequence[ReportedJob], varying: Sequence[str], systems: str | None) -> Group:
    lang, metric, test, sentences, seeds, _ = _group_key(jobs[0])
    keys = [key for key in varying if not _agree(jobs, key)]
    everything = [_JobSystem(job, position) for job in jobs for position in range(len(job.runs[0].systems))]
    unpruned = [one for one in everything if one.systems[0].is_unpruned]
    best = max(unpruned, key=lambda one: metric_named(metric).goodness(one.score(metric)))
    compared = best.systems[0].row["compared"]
    resampling = Resampling(resamples=compared["resamples"], confidence=compared["confidence"], seed=compared["seed"])
    lines = []
    for shared, settings in _merge_controls([one for one in everything if one.is_selected(systems)], keys):
        first = shared[0]
        figures = _figures(first.systems, best.systems, metric, resampling)
        row = {"name": first.name, "settings": settings, **figures}
        lines.append(TableLine(first.name, settings, [one.job for one in shared], first.systems, first.is_control, row))
    lines.sort(key=lambda line: not line.is_control)
    best_settings = next(settings for shared, settings in _merge_controls(unpruned, keys) if best in shared)
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
        reference_name=describe_system(best.name, best_settings, keys),
        resampling=resampling,
    )


@dataclass(frozen=True, eq=False)
class _JobSystem:
    """A system of a job, by its position in the comparison."""

    job: ReportedJob
    position: int

    @property
    def systems(self) -> list[ScoredSystem]:
        return [run.systems[self.position] for run in self.job.runs]

    @property
    def name(self) -> str:
        return str(self.systems[0].row["name"])

    @property
    def is_last(self) -> bool:
        return self.position == len(self.job.runs[0].systems) - 1

    @property
    def is_control(self) -> bool:
        return self.systems[0].is_unpruned and not self.is_last

    def score(self, metric: str) -> float:
        return statistics.fmean(system.row[metric] for system in self.systems)

    def is_selected(self, systems: str | None) -> bool:
        if systems is None:
            return self.is_control or self.is_last
        names = systems.split(",")
        return "all" in names or self.name in names or ("controls" in names and self.is_control)


def _merge_controls(
    systems: Sequence[_JobSystem], keys: Sequence[str]
) -> Iterator[tuple[list[_JobSystem], dict[str, Any]]]:
    """Yield the systems with their settings: a control that jobs share once, and every other system by itself."""
    same: dict[tuple[Any, ...], list[_JobSystem]] = {}
    for number, one in enumerate(systems):
        scores = tuple(system.scores for system in one.systems)
        same.setdefault((one.name, scores) if one.is_control else (number,), []).append(one)
    for shared in same.values():
        first = shared[0]
        deciding = keys
        if first.is_control:
            namesakes = [
                several for several in same.values() if several[0].is_control and several[0].name == first.name
            ]
            deciding = [
                key
                for key in keys
                if len(namesakes) > 1 and all(_agree([one.job for one in several], key) for several in namesakes)
            ]
        yield shared, {key: first.job.settings[key] for key in deciding}


def _figures(
    systems: Sequence[ScoredSystem], reference: Sequence[ScoredSystem], metric: str, resampling: Resampling
) -> dict[str, Any]:
    """Return the figures of a system, means if there are several seeds, with retention relative to ``reference``."""
    pairs = zip(systems, reference, strict=True)
    rows: list[Row] = [{**one.row, **_retention(one, other, metric, resampling)} for one, other in pairs]
    if not enough_sentences(rows[0]["compared"]["sentences"]):  # older comparisons in a store have intervals
        rows = [{**row, "score_ci": None} for row in rows]
    figures = aggregate_seeds([[row] for row in rows])[0] if len(rows) > 1 else rows[0]
    is_reference = [one.scores for one in systems] == [one.scores for one in reference]
    return {**figures, "is_reference": is_reference}


def _retention(system: ScoredSystem, reference: ScoredSystem, metric: str, resampling: Resampling) -> dict[str, Any]:
    if system.quality is None or reference.quality is None:  # the comparison still has the scores themselves
        ratio = metric_named(metric).retention(system.row[metric], reference.row[metric])
        return {"retention": ratio, "retention_ci": None}
    ours, theirs = (one.metrics[metric].statistics for one in (system.quality, reference.quality))
    found = retention(metric, ours, theirs, **resampling)
    return {"retention": found.value, "retention_ci": found.interval}


def describe_system(name: str, settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the name of a system, and in brackets the settings that tell it from others of the same name."""
    return f"{name} ({settings_in_words(settings, keys)})" if settings else name


def settings_in_words(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return ``ratio=0.5, finetune=lora``, with names that are clear among ``keys``."""
    names = short_names(keys)
    return ", ".join(f"{names[key]}={format_setting(value)}" for key, value in settings.items())


def group_title(group: Group) -> str:
    """Return the language of a group and the settings that tell it from other groups."""
    return ", ".join(filter(None, [group.language, settings_in_words(group.fixed, list(group.fixed))]))


def layer_searches(group: Group) -> list[tuple[str, Sequence[Ranking]]]:
    """Return the searches for layers of a group's jobs, each once, with the settings that decide it in words.

    A search that continues another one stands for both.
    """
    found = [(search, job) for job in group.jobs for run in job.runs for search in run.searches.values()]
    searches: list[tuple[Sequence[Ranking], list[ReportedJob]]] = []
    for search, job in sorted(found, key=lambda one: -len(one[0])):
        jobs = next((jobs for longer, jobs in searches if list(longer[: len(search)]) == list(search)), None)
        if jobs is None:
            searches.append((search, [job]))
        else:
            jobs.append(job)
    described = []
    for search, jobs in searches:
        shared = {key: jobs[0].settings[key] for key in group.keys if _agree(jobs, key)}
        described.append((settings_in_words(shared, group.keys), search))
    return described


def resolve_key(given: str, keys: Sequence[str]) -> str:
    """Return the key that is ``given``, or the only one that ends in it.

    Raises:
        InputError: there is none, or there are several.
    """
    found = [key for key in keys if given == key] or [key for key in keys if given in key_suffixes(key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{given!r} may be {' or '.join(found)}: name it in full")
    known = dict.fromkeys([*short_names(keys).values(), *keys])
    there = f"they were given {', '.join(keys)}" if keys else "they were given none"
    raise InputError(f"{given!r} is no setting of these jobs: {there}{suggestion(given, known)}")

"""The plots of a sweep, each as PNG and as SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stc.config.override_names import short_names
from stc.report.dots import plot_pivot, plot_ratio, ratios
from stc.report.front import plot_front
from stc.report.jobs import ReportedJob
from stc.report.pivot import Pivot, group_title
from stc.report.run_plots import plot_importance
from stc.report.sweep import Group, format_setting

Rankings = Sequence[Mapping[str, Any]]


def plot_sweep(folder: Path, name: str, groups: Sequence[Group], pivots: Sequence[Pivot]) -> list[Path]:
    """Draw what the groups have: quality against size, retention against ratio, searches; and each pivot.

    Args:
        folder: made if it is not there.
        name: of the sweep, said in every plot.

    Returns:
        the files, PNG and SVG.
    """
    drawn: list[Path] = []
    for group, stem in zip(groups, _stems([group_title(group) for group in groups]), strict=True):
        title = f"{group_title(group)} ({name})"
        if group.lines:
            drawn.append(plot_front(folder / f"pareto-{stem}.png", title, group))
        if len(ratios(group)) > 1:
            drawn.append(plot_ratio(folder / f"ratio-{stem}.png", title, group))
        for number, (told, rankings) in enumerate(searches(group), 1):
            file = folder / f"importance-{stem}-{number}.png"
            drawn.append(
                plot_importance(file, ", ".join(filter(None, [group_title(group), told])), rankings, vector=True)
            )
    for pivot, stem in zip(pivots, _stems([pivot.title for pivot in pivots]), strict=True):
        drawn.append(plot_pivot(folder / f"pivot-{stem}.png", f"{pivot.title} ({name})", pivot))
    return [file for one in drawn for file in (one, one.with_suffix(".svg"))]


def searches(group: Group) -> list[tuple[str, Rankings]]:
    """The searches of a group's jobs, each once, with the settings that decide it in words. One that goes on from
    another stands for both."""
    found = [
        (rankings, job) for job in group.jobs for run in job.runs for rankings in run.searches.values() if rankings
    ]
    kept: list[tuple[Rankings, list[ReportedJob]]] = []
    for rankings, job in sorted(found, key=lambda one: -len(one[0])):
        same = next((jobs for longer, jobs in kept if list(longer[: len(rankings)]) == list(rankings)), None)
        if same is None:
            kept.append((rankings, [job]))
        else:
            same.append(job)
    names = short_names(group.keys)
    return [
        (
            ", ".join(
                f"{names[key]}={format_setting(jobs[0].settings[key])}"
                for key in group.keys
                if len({format_setting(job.settings[key]) for job in jobs}) == 1
            ),
            rankings,
        )
        for rankings, jobs in kept
    ]


def _stems(titles: Sequence[str]) -> list[str]:
    """Titles as parts of file names, each its own."""
    stems = [re.sub(r"[^\w.]+", "-", title).strip("-").lower() for title in titles]
    return [stem if stems.count(stem) == 1 else f"{stem}-{stems[:at].count(stem) + 1}" for at, stem in enumerate(stems)]

"""The report of a sweep: its tables in four formats, and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.config.job_names import short_names
from stc.errors import InputError, suggestion
from stc.report import formats
from stc.report.comparison import metric_names_in
from stc.report.csv_export import cells_csv, lines_csv
from stc.report.formats import TitledTable
from stc.report.output_notes import output_notes
from stc.report.pivot import Pivot, make_pivots, retention_notes
from stc.report.run_table import (
    RETENTION,
    SIZES,
    SPEED,
    SYSTEM,
    format_interval,
    score_columns,
    seed_columns,
    speed_note,
    zero_note,
)
from stc.report.sweep_jobs import ReportedJob, latest_results, read_jobs
from stc.report.sweep_table import Group, describe_system, group_jobs, group_title, varying_keys
from stc.system.number_formats import format_setting
from stc.system.tables import NONE, Column, Row, filled_columns


@dataclass(frozen=True)
class Report:
    """The report of a sweep.

    Attributes:
        name: of the sweep, for a heading.
        jobs: all of them, also those without a result.
        groups: the systems that can be compared, one table each.
        pivots: as requested.
        metric: of the plots of quality against size; None for the default of :mod:`stc.report.sweep_plots`.
    """

    name: str
    jobs: Sequence[ReportedJob]
    groups: Sequence[Group]
    pivots: Sequence[Pivot] = ()
    metric: str | None = None

    @property
    def terminal(self) -> str:
        """The pivots if there are any, else the tables; and the jobs without a result."""
        return formats.terminal([*(self._pivot_tables() or self._tables()), *self._missing()])

    @property
    def markdown(self) -> str:
        """Tables, pivots, and the jobs without a result."""
        return formats.markdown(self.name, [*self._tables(), *self._pivot_tables(), *self._missing()])

    @property
    def latex(self) -> str:
        """Return the report as a LaTeX document."""
        return formats.latex([*self._tables(), *self._pivot_tables(), *self._missing()])

    @property
    def csv(self) -> str:
        """Every line of every table with all its digits, and the jobs without a result."""
        return lines_csv(self.jobs, self.groups)

    def plots(self, folder: Path) -> list[Path]:
        """Draw every plot into ``folder``, as PNG and as SVG, and return the files."""
        from stc.report.sweep_plots import plot_sweep

        return plot_sweep(folder, self.groups, self.pivots, self.metric)

    def save(self, folder: Path) -> list[Path]:
        """Write report.md with the plots in it, report.csv, report.tex, and pivot.csv if there are pivots.

        Returns:
            the files, those of the plots last.

        Raises:
            InputError: the folder cannot be written to.
        """
        texts = {"report.csv": self.csv, "report.tex": self.latex}
        if self.pivots:
            texts["pivot.csv"] = cells_csv(self.pivots)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plots = self.plots(folder)
            images = "".join(f"\n![{plot.stem}]({plot.name})\n" for plot in plots if plot.suffix == ".png")
            texts = {"report.md": self.markdown + images, **texts}
            for name, content in texts.items():
                (folder / name).write_text(content, encoding="utf-8")
            return [*(folder / name for name in texts), *plots]
        except OSError as error:
            raise InputError(f"{folder} cannot be written to: {error.strerror}") from None

    def _tables(self) -> list[TitledTable]:
        titles = [group_title(group) for group in self.groups]
        return [
            _table(group, title if titles.count(title) == 1 else f"{title}, test set {group.test[:8] or 'unknown'}")
            for group, title in zip(self.groups, titles, strict=True)
        ]

    def _pivot_tables(self) -> list[TitledTable]:
        return [table for pivot in self.pivots for table in pivot.tables()]

    def _missing(self) -> list[TitledTable]:
        failed = [job for job in self.jobs if job.fault]
        if not failed:
            return []
        columns = [
            Column(("", "job"), lambda row: row["folder"], align_left=True),
            *_setting_columns(varying_keys(self.jobs)),
            Column(("", "why it has none"), lambda row: row["fault"], align_left=True),
        ]
        rows = [{"folder": str(job.folder), "settings": job.settings, "fault": job.fault} for job in failed]
        return [TitledTable(f"{len(failed)} of {len(self.jobs)} jobs without a result", columns, rows)]


def render(
    sweep: Path | Sequence[Path] = (),
    store: Path | None = None,
    *,
    systems: str | None = None,
    pivot: Sequence[str] | None = None,
    metric: str | None = None,
) -> Report:
    """Return the report of a sweep, from what its jobs left in the store.

    Args:
        sweep: the folder of a sweep or of a run, or several; empty for the latest sweep.
        store: the folder of the results; None for the store that each job was run with.
        systems: the systems that have a line, as :func:`stc.report.sweep_table.group_jobs` takes them.
        pivot: rows, columns and perhaps a value, as :func:`stc.report.pivot.make_pivots` takes them.
        metric: of the plots of quality against size, as :func:`stc.report.sweep_plots.plot_sweep` takes it.

    Raises:
        InputError: a folder, the store or a name does not exist, the pivot cannot be made, or no system was scored by
            the metric.
    """
    folders = [sweep] if isinstance(sweep, Path) else list(sweep) or [latest_results()]
    jobs = read_jobs(folders, store)
    groups = group_jobs(jobs, systems)
    if metric is not None:
        _check_metric(metric, groups)
    return Report(
        name=" and ".join(str(folder) for folder in folders),
        jobs=jobs,
        groups=groups,
        pivots=make_pivots(groups, *pivot) if pivot else (),
        metric=metric,
    )


def _check_metric(metric: str, groups: Sequence[Group]) -> None:
    scored = metric_names_in(line.row for group in groups for line in group.lines)
    if metric not in scored:
        raise InputError(
            f"--metric {metric}: no system was scored by it; there are {', '.join(scored) or 'no scores'}"
            f"{suggestion(metric, scored)}"
        )


def _table(group: Group, title: str) -> TitledTable:
    rows = [line.row for line in group.lines]
    if len(group.seeds) > 1:
        figures: Sequence[Column] = (*SIZES, *seed_columns(rows))
    else:
        interval = Column(("", "interval"), _show_interval)
        figures = (*SIZES, *score_columns(rows), RETENTION, interval, *SPEED)
    columns = filled_columns([SYSTEM, *_setting_columns(group.keys), *figures], rows)
    return TitledTable(f"{title}, {group.sentences:,} test sentences", columns, rows, _notes(group))


def _show_interval(row: Row) -> str:
    return "reference" if row["is_reference"] else format_interval(row["retention_ci"])


def _setting_columns(keys: Sequence[str]) -> list[Column]:
    names = short_names(keys)
    return [_setting_column(key, names[key]) for key in keys]


def _setting_column(key: str, name: str) -> Column:
    def show(row: Row) -> str:
        return format_setting(row["settings"][key]) if key in row["settings"] else NONE

    return Column(("", name), show, align_left=True)


def _notes(group: Group) -> list[str]:
    systems = [system for line in group.lines for system in line.systems]
    devices = [str(system.row["device"]) for system in systems]
    notes = [
        *group.fairness_notes,
        *retention_notes(group),
        speed_note(devices, "It" if len(group.seeds) > 1 else "It and peak memory"),
    ]
    machines = {str(system.machine) for system in systems}
    if len(machines) > 1:
        notes.append(
            f"They were taken on {len(machines)} machines, or with other versions or threads (measurement.json says "
            "which), and compare only within one."
        )
    if any(line.row["is_reference"] and line.row["retention"] is None for line in group.lines):
        notes.append(zero_note(group.reference_name))
    without = [line.name for line in group.lines if any(system.quality is None for system in line.systems)]
    if without:
        notes.append(
            f"No interval for {', '.join(dict.fromkeys(without))}: the sentence-level scores are not in the store, or "
            "are damaged."
        )
    named = [(describe_system(line.name, line.settings, group.keys), line.row) for line in group.lines]
    return notes + output_notes(named)

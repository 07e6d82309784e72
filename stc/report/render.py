"""The report of a sweep: its tables in four forms, and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.config.override_names import short_names
from stc.errors import InputError
from stc.report import formats as forms
from stc.report.csv_figures import cells_csv, lines_csv
from stc.report.formats import TitledTable
from stc.report.jobs import ReportedJob, latest_sweep, read_jobs
from stc.report.pivot import Pivot, group_title, pivots, retention_notes
from stc.report.run_table import RETENTION, SIZES, SPEED, SYSTEM, format_interval, score_columns
from stc.report.seeds import seed_columns
from stc.report.sweep import Group, format_setting, groups
from stc.system.tables import NONE, Column, filled_columns

_INTERVAL = Column(
    ("", "interval"), lambda row: "reference" if row["is_reference"] else format_interval(row["retention_ci"])
)


@dataclass(frozen=True)
class Report:
    """What there is to say of a sweep.

    Attributes:
        name: of the sweep, in a heading.
        jobs: all of them, also those without a result.
        groups: what could be compared, a table each.
        pivots: those asked for.
    """

    name: str
    jobs: Sequence[ReportedJob]
    groups: Sequence[Group]
    pivots: Sequence[Pivot] = ()

    @property
    def terminal(self) -> str:
        """The pivots if any were asked for, else the tables; and the jobs without a result."""
        return forms.terminal([*(self._pivots() or self._tables()), *self._missing()])

    @property
    def markdown(self) -> str:
        """Tables, pivots, and the jobs without a result."""
        return forms.markdown(self.name, [*self._tables(), *self._pivots(), *self._missing()])

    @property
    def latex(self) -> str:
        """The same as a document of its own."""
        return forms.latex([*self._tables(), *self._pivots(), *self._missing()])

    @property
    def csv(self) -> str:
        """Every line of every table with all its digits, and the jobs without a result."""
        return lines_csv(self.jobs, self.groups)

    def plots(self, folder: Path) -> list[Path]:
        """Draw what the sweep has into ``folder``, each plot as PNG and as SVG; returns the files."""
        from stc.report.plots import plot_sweep

        return plot_sweep(folder, self.name, self.groups, self.pivots)

    def save(self, folder: Path) -> list[Path]:
        """Everything into ``folder``: report.md with the plots in it, report.csv, report.tex, and pivot.csv if any were
        asked for.

        Returns:
            the files, those of the plots last.

        Raises:
            InputError: it cannot be written to.
        """
        texts = {"report.csv": self.csv, "report.tex": self.latex}
        if self.pivots:
            texts["pivot.csv"] = cells_csv(self.pivots)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plots = self.plots(folder)
            shown_plots = "".join(f"\n![{one.stem}]({one.name})\n" for one in plots if one.suffix == ".png")
            texts = {"report.md": self.markdown + shown_plots, **texts}
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

    def _pivots(self) -> list[TitledTable]:
        return [block for pivot in self.pivots for block in pivot.blocks()]

    def _missing(self) -> list[TitledTable]:
        faulty = [job for job in self.jobs if job.fault]
        if not faulty:
            return []
        keys = [
            key for key in self.jobs[0].settings if len({format_setting(job.settings[key]) for job in self.jobs}) > 1
        ]
        columns = [
            Column(("", "job"), lambda row: row["folder"], left=True),
            *_settings(keys),
            Column(("", "why it has none"), lambda row: row["fault"], left=True),
        ]
        rows = [{"name": "", "folder": str(job.folder), "settings": job.settings, "fault": job.fault} for job in faulty]
        return [TitledTable(f"{len(faulty)} of {len(self.jobs)} jobs without a result", columns, rows)]


def render(
    sweep: Path | Sequence[Path] = (),
    store: Path | None = None,
    *,
    systems: str | None = None,
    pivot: Sequence[str] | None = None,
) -> Report:
    """The report of a sweep, from what its jobs have left in the store.

    Args:
        sweep: the folder of a sweep or of a run, or several; none for the latest sweep.
        store: where the results are; None for the store that each job was run with.
        systems: which systems of each job have a line: the controls and its last one (None), ``all``, ``controls``, or
            names with commas between.
        pivot: rows, columns and perhaps a value, as :func:`stc.report.pivot.pivots` takes them.

    Raises:
        InputError: a folder, the store or a name is not there, or the pivot cannot be made.
    """
    folders = [sweep] if isinstance(sweep, Path) else list(sweep) or [latest_sweep()]
    jobs = read_jobs(folders, store)
    found = groups(jobs, systems)
    return Report(
        name=" and ".join(str(folder) for folder in folders),
        jobs=jobs,
        groups=found,
        pivots=pivots(found, *pivot) if pivot else (),
    )


def _table(group: Group, title: str) -> TitledTable:
    rows = [line.row for line in group.lines]
    if len(group.seeds) > 1:
        figures: Sequence[Column] = (*SIZES, *seed_columns(rows))
    else:
        figures = (*SIZES, *score_columns(rows), RETENTION, _INTERVAL, *SPEED)
    columns = filled_columns([SYSTEM, *_settings(group.keys), *figures], rows)
    return TitledTable(f"{title}, {group.sentences:,} test sentences", columns, rows, _notes(group))


def _settings(keys: Sequence[str]) -> list[Column]:
    names = short_names(keys)
    return [_setting(key, names[key]) for key in keys]


def _setting(key: str, name: str) -> Column:
    return Column(
        ("", name), lambda row: format_setting(row["settings"][key]) if key in row["settings"] else NONE, left=True
    )


def _notes(group: Group) -> list[str]:
    notes = retention_notes(group)
    devices = dict.fromkeys(str(system.row["device"]) for line in group.lines for system in line.systems)
    measured = "It" if len(group.seeds) > 1 else "It and peak memory"
    notes.append(
        f"Real-time factor: seconds of computing per second of audio. {measured}: on {' and '.join(devices)}, one "
        "utterance at a time."
    )
    machines = {str(system.machine) for line in group.lines for system in line.systems}
    if len(machines) > 1:
        notes.append(
            f"They were taken on {len(machines)} machines, or with other versions or threads (measurement.json says "
            "which), and compare only within one."
        )
    if any(line.row["is_reference"] and line.row["retention"] is None for line in group.lines):
        notes.append(f"There is no retention here: {group.reference_name} scores 0.")
    gone = [line for line in group.lines if any(system.quality is None for system in line.systems)]
    if gone:
        notes.append(
            f"No interval for {', '.join(dict.fromkeys(line.name for line in gone))}: the sentence-level scores are "
            "not in the store, or are damaged."
        )
    return notes

"""The jobs of a sweep: which there are, with which settings, and their results.

All of it is read from the folders that Hydra made and from the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stc.config.job_names import parse_assignment
from stc.errors import InputError
from stc.report.stored_results import ReportedRun, ResultReader
from stc.store.run_result import RESULT_FILE, Result
from stc.system.natural_order import natural_key
from stc.system.paths import expand_home
from stc.system.read_files import read_json, read_yaml, validate_shape

RUNS, SWEEPS = Path("outputs"), Path("multirun")
HYDRA = ".hydra"
DEFAULT = "default"
"""The value of a setting that a job leaves to its config, if the config does not have it under that key."""
_NOT_SETTINGS = {"hydra", "store", "tracking", "force", "verbose"}  # first words of keys that cannot change a result


@dataclass(frozen=True)
class ReportedJob:
    """A job of a sweep, or a single run.

    Attributes:
        folder: where its result.json is, or should be.
        settings: key → value of everything that any of the jobs read together sets.
        seeds: of a job that was run with several; else empty.
        runs: one for each seed; none if there is a ``fault``.
        fault: why there is no result, or empty.
        model: the name of the model in its config, or empty.
        ratio: of the layers that it removes; None if they were named, or its config does not say it.
    """

    folder: Path
    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = ()
    runs: Sequence[ReportedRun] = ()
    fault: str = ""
    model: str = ""
    ratio: float | None = None


def read_jobs(folders: Sequence[Path], store: Path | None = None) -> list[ReportedJob]:
    """Read the jobs of sweeps and runs, including those without a result.

    Args:
        folders: each of a sweep or a run.
        store: the folder of the results; None for the store that each job was run with.

    Raises:
        InputError: a folder does not exist or has no job in it, or there is no store.
    """
    started = [_StartedJob(job) for folder in folders for job in _job_folders(folder)]
    keys = dict.fromkeys(key for one in started for key in one.keys)
    reader = ResultReader(store)
    jobs = [_read_job(one, {key: one.value(key) for key in keys}, reader) for one in started]
    all_overrides = {one.overrides for one in started}
    for folder in folders:
        for number, overrides in enumerate(_planned_jobs(folder)):
            if overrides not in all_overrides:
                given = dict(parse_assignment(one) for one in overrides)
                settings = {key: given.get(key, DEFAULT) for key in keys}
                jobs.append(ReportedJob(folder / str(number), settings, fault="was not begun"))
    return jobs


def latest_results() -> Path:
    """Return the folder of the latest sweep or run, by the date and the time in its path.

    Raises:
        InputError: there is none.
    """
    folders = [folder for place in (RUNS, SWEEPS) for folder in place.glob("*/*") if folder.is_dir()]
    if not folders:
        where = f"no run in {RUNS.absolute()} and no sweep in {SWEEPS.absolute()}"
        raise InputError(f"there is {where}: name the folder of a sweep or of a run")
    return max(folders, key=lambda folder: folder.parts[-2:])


def _job_folders(folder: Path) -> list[Path]:
    """Return the folders of the jobs in a sweep's folder; for a run's folder, itself."""
    if not folder.is_dir():
        siblings = sorted(one.name for one in folder.parent.glob("*") if one.is_dir())
        there = f"; in {folder.parent} are {', '.join(siblings[-5:])}" if siblings else ""
        raise InputError(f"{folder} is not a folder of a sweep or a run{there}")
    if (folder / HYDRA).is_dir() or (folder / RESULT_FILE).exists():
        return [folder]
    jobs = [one.parent for one in folder.glob(f"*/{HYDRA}")]
    if not jobs:
        raise InputError(
            f"{folder} has no job in it: a run's folder has {RESULT_FILE} and .hydra/, a sweep's has one such folder a "
            "job"
        )
    return sorted(jobs, key=natural_key)


class _Overrides(BaseModel):
    task: list[str]


class _Runtime(BaseModel):
    choices: dict[str, Any] = {}
    cwd: str = ""


class _Hydra(BaseModel):
    overrides: _Overrides
    runtime: _Runtime = _Runtime()


class _HydraFile(BaseModel):
    """The parts that are read of a sweep's multirun.yaml and of a job's .hydra/hydra.yaml."""

    hydra: _Hydra


def _read_hydra(file: Path) -> _Hydra:
    from omegaconf import OmegaConf

    return validate_shape(OmegaConf.to_container(read_yaml(file)), str(file), _HydraFile).hydra


def _planned_jobs(folder: Path) -> list[tuple[str, ...]]:
    """Return the overrides of every job that a sweep was to have, as far as stc can tell."""
    from hydra.errors import HydraException

    from stc.config.override_checks import expand_jobs

    file = folder / "multirun.yaml"
    if not file.exists():
        return []
    try:
        return [tuple(job) for job in expand_jobs(["-m", *_read_hydra(file).overrides.task])]
    except HydraException:  # only Hydra itself can expand some sweeps: glob(…)
        return []


class _StartedJob:
    """The settings of a job that was started: its overrides, its composed config, and the config group choices.

    The folder may be that of one seed, in the folder of a run with several. The settings are then those of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        of_seed = None if (folder / HYDRA).is_dir() else re.fullmatch(r"seed(\d+)", folder.resolve().name)
        hydra_folder = (folder.resolve().parent if of_seed else folder) / HYDRA
        try:
            self._config: Any = read_yaml(hydra_folder / "config.yaml")
            hydra = _read_hydra(hydra_folder / "hydra.yaml")
        except FileNotFoundError as error:
            raise InputError(f"{error} is missing: {folder} does not say what its settings are") from None
        self.overrides = tuple(hydra.overrides.task)
        self._runtime = hydra.runtime
        keys = [parse_assignment(one)[0] for one in self.overrides]
        if of_seed:
            self._config.seed = int(of_seed[1])
            keys = ["seed" if key == "seeds" else key for key in keys]
        self.keys = [key for key in keys if re.split(r"[./@]", key)[0] not in _NOT_SETTINGS]

    def value(self, key: str) -> Any:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if key in self._runtime.choices:
            return self._runtime.choices[key]
        try:
            value = OmegaConf.select(self._config, key, default=DEFAULT)
        except OmegaConfBaseException:  # an interpolation that can only be resolved where the job ran
            return DEFAULT
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value

    @property
    def store(self) -> Path:
        return Path(self._runtime.cwd) / expand_home(str(self._config.store.dir))


def _read_job(started: _StartedJob, settings: Mapping[str, Any], reader: ResultReader) -> ReportedJob:
    def without_result(fault: object) -> ReportedJob:
        return ReportedJob(started.folder, settings, fault=str(fault))

    file = started.folder / RESULT_FILE
    if not file.exists():
        return without_result(f"has no {RESULT_FILE}: it failed, was ended, or is still running")
    try:
        result = read_json(file, Result)
        results = [result]
        if "runs" in result:
            files = [started.folder / one["result"] for one in result["runs"]]
            if missing := [path for path in files if not path.exists()]:
                return without_result(f"lacks {', '.join(map(str, missing))}")
            results = [read_json(path, Result) for path in files]
    except InputError as error:
        return without_result(error)
    if not all(one["systems"] for one in results):
        return without_result("compares no systems: there is no comparison among its outputs")
    reader.open(started.store)  # without any store, the report ends here
    try:
        runs = [reader.run(one, started.store) for one in results]
    except InputError as error:  # missing from the store, or written by a version with other records
        return without_result(error)
    model, ratio = started.value("model.name"), started.value("prune.ratio")
    return ReportedJob(
        started.folder,
        settings,
        tuple(result.get("seeds", ())),
        runs,
        model="" if model == DEFAULT else str(model),
        ratio=float(ratio) if isinstance(ratio, int | float) else None,
    )

"""The jobs of a sweep: which there are, what each was asked for, and what has become of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stc.config.override_names import parse_assignment
from stc.errors import InputError
from stc.report.results import ReportedRun, ResultReader
from stc.store.run_result import RESULT_FILE, Result
from stc.system.natural_order import natural_key
from stc.system.paths import expand_home
from stc.system.read_files import read_json, read_yaml, validate_shape

SWEEPS = Path("multirun")
DEFAULT = "default"
"""Stands for a setting that a job leaves to its config, where the config does not have it under that key."""
_NOT_SETTINGS = {"hydra", "store", "tracking", "force"}  # first words of keys that say nothing about a result


@dataclass(frozen=True)
class ReportedJob:
    """A job of a sweep, or a run alone.

    Attributes:
        folder: where its result.json is, or should be.
        settings: key → value of everything that any of the jobs read together sets.
        seeds: those of a job that was run with several, else empty.
        runs: one, or one a seed; none where there is a ``fault``.
        fault: why there is nothing to show of it, or empty.
    """

    folder: Path
    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = ()
    runs: Sequence[ReportedRun] = ()
    fault: str = ""


def read_jobs(folders: Sequence[Path], store: Path | None = None) -> list[ReportedJob]:
    """The jobs of sweeps and runs, those without a result among them.

    Args:
        folders: of a sweep or a run each.
        store: where the results are; None for the store that each job was run with.

    Raises:
        InputError: a folder is not there or has no job in it, or there is no store.
    """
    asked = [_Asked(job) for folder in folders for job in _jobs(folder)]
    keys = dict.fromkeys(key for one in asked for key in one.keys)
    reader = ResultReader(store)
    found = [_job(one, {key: one.value(key) for key in keys}, reader) for one in asked]
    begun = {one.overrides for one in asked}
    for folder in folders:
        for number, overrides in enumerate(_planned(folder)):
            if overrides not in begun:
                given = dict(parse_assignment(one) for one in overrides)
                settings = {key: given.get(key, DEFAULT) for key in keys}
                found.append(ReportedJob(folder / str(number), settings, fault="was not begun"))
    return found


def latest_sweep() -> Path:
    """The folder of the latest sweep.

    Raises:
        InputError: there is none.
    """
    folders = sorted(folder for folder in SWEEPS.glob("*/*") if folder.is_dir())
    if not folders:
        raise InputError(f"there is no sweep in {SWEEPS.absolute()}: name the folder of a sweep or of a run")
    return folders[-1]


def _jobs(folder: Path) -> list[Path]:
    """The folders of the jobs in a sweep's folder; of a run's folder, itself.

    Raises:
        InputError: it is not there, or has none.
    """
    if not folder.is_dir():
        beside = sorted(one.name for one in folder.parent.glob("*") if one.is_dir()) if folder.parent.is_dir() else []
        there = f"; in {folder.parent} are {', '.join(beside[-5:])}" if beside else ""
        raise InputError(f"{folder} is not a folder of a sweep or a run{there}")
    if (folder / ".hydra").is_dir() or (folder / RESULT_FILE).exists():
        return [folder]
    jobs = [one.parent for one in folder.glob("*/.hydra")]
    if not jobs:
        raise InputError(
            f"{folder} has no job in it: a run's folder has {RESULT_FILE} and .hydra/, a sweep's has one such folder a "
            "job"
        )
    return sorted(jobs, key=natural_key)


def _planned(folder: Path) -> list[tuple[str, ...]]:
    """The overrides of every job that a sweep was to have, as far as they can be told without Hydra's launcher."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from stc.config.command_line import expand_jobs

    file = folder / "multirun.yaml"
    if not file.exists():
        return []
    asked = validate_shape(OmegaConf.to_container(read_yaml(file)), str(file), _Sweep)
    try:
        return [tuple(job) for job in expand_jobs(["-m", *asked.hydra.overrides.task])]
    except HydraException:  # a sweep that only Hydra itself can expand: glob(…)
        return []


class _Overrides(BaseModel):
    task: list[str]


class _SweepHydra(BaseModel):
    overrides: _Overrides


class _Sweep(BaseModel):
    """What Hydra writes down of a sweep, as far as it is read here."""

    hydra: _SweepHydra


class _Runtime(BaseModel):
    choices: dict[str, Any]
    cwd: str


class _JobHydra(BaseModel):
    overrides: _Overrides
    runtime: _Runtime


class _JobSaid(BaseModel):
    """The same of a job."""

    hydra: _JobHydra


class _Asked:
    """What a job was asked for: its overrides, its composed config, and which members of groups that has."""

    def __init__(self, folder: Path) -> None:
        from omegaconf import OmegaConf

        self.folder = folder
        try:
            self._config: Any = read_yaml(folder / ".hydra" / "config.yaml")
            file = folder / ".hydra" / "hydra.yaml"
            hydra = validate_shape(OmegaConf.to_container(read_yaml(file)), str(file), _JobSaid).hydra
        except FileNotFoundError as error:
            raise InputError(f"{error} is missing: {folder} does not say what it was asked for") from None
        self.overrides = tuple(hydra.overrides.task)
        self._members = hydra.runtime.choices
        self._cwd = Path(hydra.runtime.cwd)
        keys = [parse_assignment(one)[0] for one in self.overrides]
        self.keys = [key for key in keys if re.split(r"[./@]", key)[0] not in _NOT_SETTINGS]

    def value(self, key: str) -> Any:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if key in self._members:
            return self._members[key]
        try:
            value = OmegaConf.select(self._config, key, default=DEFAULT)
        except OmegaConfBaseException:  # what it refers to is only known where it was run
            return DEFAULT
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value

    @property
    def store(self) -> Path:
        return self._cwd / expand_home(str(self._config.store.dir))


def _job(asked: _Asked, settings: Mapping[str, Any], reader: ResultReader) -> ReportedJob:
    file = asked.folder / RESULT_FILE
    if not file.exists():
        return ReportedJob(
            asked.folder, settings, fault=f"has no {RESULT_FILE}: it failed, was ended, or is still running"
        )
    try:
        result = read_json(file, Result)
        results = {0: result}
        if "runs" in result:
            files = {one["seed"]: asked.folder / one["result"] for one in result["runs"]}
            if gone := [path for path in files.values() if not path.exists()]:
                return ReportedJob(asked.folder, settings, fault=f"lacks {', '.join(map(str, gone))}")
            results = {seed: read_json(path, Result) for seed, path in files.items()}
    except InputError as damaged:
        return ReportedJob(asked.folder, settings, fault=str(damaged))
    if not all(one["systems"] for one in results.values()):
        return ReportedJob(
            asked.folder, settings, fault="compares no systems: there is no comparison among its outputs"
        )
    reader.open(asked.store)
    try:
        runs = [reader.run(one, seed, asked.store) for seed, one in results.items()]
    except InputError as unreadable:  # gone from the store, or written by a version whose records were others
        return ReportedJob(asked.folder, settings, fault=str(unreadable))
    return ReportedJob(asked.folder, settings, tuple(result.get("seeds", ())), runs)

"""The languages translated into, as ``conf/lang`` has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from stc.data.manifest import Task
from stc.errors import InputError, nearest
from stc.metrics.text import MetricName
from stc.paths import CONF

FOLDER = CONF / "lang"


@dataclass(frozen=True)
class Language:
    """A target language: its code, its English name, and the metric retention is measured by."""

    code: str
    name: str
    metric: MetricName

    @property
    def task(self) -> Task:
        return Task(target_lang=self.code, target_name=self.name)


def codes() -> list[str]:
    """What ``lang=`` and ``--lang`` take."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def language(code: str) -> Language:
    """The language of that code.

    Raises:
        InputError: there is none.
    """
    from omegaconf import OmegaConf

    if code not in codes():
        raise InputError(f"language {code!r}: one of {', '.join(codes())}{nearest(code, codes())}")
    stated = OmegaConf.load(FOLDER / f"{code}.yaml")
    return Language(stated.code, stated.name, cast(MetricName, stated.metric))

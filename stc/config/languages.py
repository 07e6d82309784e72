"""The languages translated into, as ``conf/lang`` has them."""

from __future__ import annotations

from dataclasses import dataclass

from stc.errors import InputError, suggestion
from stc.models.task import Task
from stc.system.language_tags import WITHOUT_SPACES, nearest_entry, normal_tag, script
from stc.system.paths import CONF
from stc.system.read_files import read_yaml

FOLDER = CONF / "lang"


@dataclass(frozen=True)
class Language:
    """A target language: its code, its English name, and the metric retention is measured by."""

    code: str
    name: str
    metric: str

    @property
    def task(self) -> Task:
        return Task(target_lang=self.code, target_name=self.name)


def language_codes() -> list[str]:
    """What ``lang=`` and ``--lang`` take."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_language(code: str) -> Language:
    """The language of that code.

    Raises:
        InputError: there is none, or its file names no language.
    """
    if code not in language_codes():
        raise InputError(f"language {code!r}: one of {', '.join(language_codes())}{suggestion(code, language_codes())}")
    file = FOLDER / f"{code}.yaml"
    stated = read_yaml(file)
    try:
        return Language(normal_tag(stated.code), stated.name, stated.metric)
    except ValueError as error:
        raise InputError(f"{file}: code: {error}") from None


def retention_metric(tag: str) -> str:
    """Return the metric that retention is measured by in a language: as ``conf/lang`` says of it or of the nearest
    wider one, else chrF++, without its words where the script does not tell them apart."""
    if (known := nearest_entry({code: code for code in language_codes()}, tag)) is not None:
        return load_language(known).metric
    return "chrf" if script(tag) in WITHOUT_SPACES else "chrf_pp"

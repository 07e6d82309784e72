"""The target languages, as ``conf/lang`` defines them."""

from __future__ import annotations

from dataclasses import dataclass

from stc.errors import InputError, suggestion
from stc.models.language_pair import Task
from stc.system.language_tags import WITHOUT_SPACES, nearest_entry, normal_tag, script
from stc.system.paths import CONF
from stc.system.read_files import read_yaml

FOLDER = CONF / "lang"


@dataclass(frozen=True)
class Language:
    """A target language: its code, its English name, and the metric that retention is measured by."""

    code: str
    name: str
    metric: str

    @property
    def task(self) -> Task:
        return Task(target_lang=self.code, target_name=self.name)


def language_codes() -> list[str]:
    """Return the values that ``lang=`` and ``--lang`` take."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_language(code: str) -> Language:
    """Return the language with this code.

    Raises:
        InputError: the code is unknown, or its file is not valid.
    """
    known = language_codes()
    if code not in known:
        raise InputError(f"language {code!r}: one of {', '.join(known)}{suggestion(code, known)}")
    file = FOLDER / f"{code}.yaml"
    content = read_yaml(file)
    try:
        return Language(normal_tag(content.code), content.name, content.metric)
    except ValueError as error:
        raise InputError(f"{file}: code: {error}") from None


def retention_metric(tag: str) -> str:
    """Return the metric that retention is measured by in a language.

    ``conf/lang`` defines it for the language itself or for the nearest wider one. The default is chrF++, or chrF where
    the script puts no spaces between words.
    """
    if (known := nearest_entry({code: code for code in language_codes()}, tag)) is not None:
        return load_language(known).metric
    return "chrf" if script(tag) in WITHOUT_SPACES else "chrf_pp"

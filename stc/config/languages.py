"""The target languages, as ``conf/lang`` or a YAML file of one's own defines them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError, suggestion
from stc.metrics.metric import MetricName
from stc.models.language_pair import Task
from stc.system.language_tags import WITHOUT_SPACES, LanguageTag, nearest_entry, script
from stc.system.paths import CONF
from stc.system.read_files import read_yaml, validate_shape

FOLDER = CONF / "lang"


class Language(BaseModel):
    """A target language: its code, its English name, and the metric that retention is measured by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: LanguageTag
    name: str
    metric: MetricName

    @property
    def task(self) -> Task:
        return Task(target_lang=self.code, target_name=self.name)

    def __str__(self) -> str:
        return self.code


def language_codes() -> list[str]:
    """Return the values that ``lang=`` and ``--lang`` take."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_language(given: str) -> Language:
    """Return the language with this code, or of this YAML file, which has the keys of those in ``conf/lang``.

    Raises:
        InputError: the code is unknown, or the file is missing or not valid.
    """
    known = language_codes()
    if given not in known and not given.endswith(".yaml"):
        raise InputError(
            f"language {given!r}: one of {', '.join(known)}, or a YAML file with code, name and metric"
            f"{suggestion(given, known)}"
        )
    from omegaconf import OmegaConf

    file = FOLDER / f"{given}.yaml" if given in known else Path(given)
    try:
        content = OmegaConf.to_container(read_yaml(file))
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None
    return validate_shape(content, str(file), Language)


def language_argument(text: str) -> Language:
    """Parse ``--lang`` of a command line, as :func:`load_language` does."""
    try:
        return load_language(text)
    except InputError as error:
        raise ArgumentTypeError(str(error)) from None


def retention_metric(tag: str) -> str:
    """Return the metric that retention is measured by in a language.

    ``conf/lang`` defines it for the language itself or for the nearest wider one. The default is chrF++, or chrF where
    the script puts no spaces between words.
    """
    if (known := nearest_entry({code: code for code in language_codes()}, tag)) is not None:
        return load_language(known).metric
    return "chrf" if script(tag) in WITHOUT_SPACES else "chrf_pp"

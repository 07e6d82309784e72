"""What every data source has: its settings, the names of its splits, and the rows of one. Imports no torch.

A source is a file of this package, named as the source, or a module of anybody's by its dotted path. It defines the
class of its settings, which yields the rows. What a row has to be is checked where rows are read, in
:mod:`stc.data.rows`, whatever the source. A member of the group ``data`` names the source and gives its settings.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from stc.errors import ConfigError, Fault, InputError, misfit, validated, written
from stc.system.extensions import by_name
from stc.system.paths import Folder

_FOLDER_NEEDED = (
    "data.path=FOLDER names the data to train and test on, and data=talks takes the small synthetic corpus that ships"
)


class Absent(InputError):
    """The data are not there, or the split is not one of theirs."""


class Columns(BaseModel):
    """Which key of a record holds what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: str
    source: str
    target: str


_AS_HERE = Columns(audio="audio", source="source", target="target")


@dataclass(frozen=True)
class AudioBytes:
    """The content of an audio file, and the ``suffix`` of such files: ``.wav``."""

    content: bytes
    suffix: str


@dataclass(frozen=True)
class Row:
    """An utterance as a source states it; None where it does not say. Nothing of it is checked yet.

    Attributes:
        where: file and line, or what the source has in their place, for messages.
        number: its place in the split, of which an id is made where it has none.
        audio: the path of a file from the folder of the source, or the bytes of one.
        duration: in seconds.
        offset: where the utterance begins in the audio, in seconds; ``duration`` is then that of the segment.
        sha256: of the whole audio file.
        content: what stands in the identity of the data for the row: by default, all that it states. A source whose
            rows are picked from records by ``columns``, which are in the identity too, may give the record.
        called: what messages call its audio and texts.
    """

    where: str
    number: int
    audio: str | AudioBytes
    source: str
    target: str
    id: str | float | None = None
    duration: float | None = None
    offset: float | None = None
    sha256: str | None = None
    content: Mapping[str, Any] | None = None
    called: Columns = _AS_HERE


class Source(BaseModel, ABC):
    """Where data come from. A field is a setting, given under ``data.source`` beside the name; the fields ``path``,
    ``columns`` and ``allow_links``, of a source that has them, are the settings ``data.path`` and so on.

    Audio of a source of this class is bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """Return the names of the splits there are.

        Raises:
            Absent: the data are not there.
        """

    @abstractmethod
    def rows(self, split: str) -> Iterator[Row]:
        """Yield the rows of a split that is there, always in one order.

        Raises:
            InputError: naming the file and line of what is wrong.
        """

    def has(self, split: str) -> bool:
        """Return whether a split is there."""
        return split in self.splits()

    def described(self, split: str) -> str:
        """Return what messages call a split."""
        return f"split {split!r} of {self.name}"


class FolderSource(Source):
    """A source whose audio may be files in a folder.

    Attributes:
        path: the folder, which the paths of audio start from and may not leave.
        allow_links: whether a link in it may lead to audio outside of it.
    """

    path: Folder
    allow_links: bool = False


def _with_settings(source: object) -> object:
    return {"name": source} if isinstance(source, str) else source


class Reads(BaseModel):
    """The settings that say which data are read, of the group ``data`` and of the stage that reads them.

    Attributes:
        source: the name of a source (:class:`Source`), or that under ``name`` and the settings of its own.
        path: the folder of the data, of a source that has one.
        columns: which key of a record holds what, of a source that has records.
        allow_links: whether a link in ``path`` may lead to audio outside of it.
    """

    path: Folder | None = None
    columns: Columns | None = None
    allow_links: bool = False
    source: Annotated[Mapping[str, Any], BeforeValidator(_with_settings)] = {"name": "json_lines"}

    def data_source(self) -> Source:
        """Return the source with its settings.

        Raises:
            ConfigError: there is no such source, or it does not take these settings.
        """
        name = self.source.get("name")
        cls = by_name("stc.data.sources", name, Source, "source.name")  # type: ignore[type-abstract]
        beside = {
            # A path that begins with "~" has been read as a name by now, and stays one with "./" before it.
            "path": None if self.path is None else os.path.join(os.curdir, self.path),
            "columns": None if self.columns is None else self.columns.model_dump(),
            "allow_links": self.allow_links or None,
        }
        given = {key: value for key, value in beside.items() if value is not None}
        known = {key: value for key, value in given.items() if key in cls.model_fields}
        faults = [
            Fault(
                key, given[key], f"the source {name} has no such setting; {key}={written(field.default)} leaves it out"
            )
            for key, field in Reads.model_fields.items()
            if key in given.keys() - known
        ]
        faults += [
            Fault(f"source.{key}", self.source[key], f"is set by {key}, beside source")
            for key in self.source.keys() & beside
        ]
        try:
            source = validated(cls, {**self.source, **known})
        except ConfigError as error:
            for fault in error.faults:
                if fault.key == "path" and self.path is None:
                    fault = Fault("path", None, f"the source {name} reads a folder: {_FOLDER_NEEDED}")
                faults.append(fault if fault.key.split(".")[0] in beside else fault.below("source"))
        if faults:
            raise ConfigError(faults)
        return source

    @model_validator(mode="after")
    def _taken_by_the_source(self) -> Self:
        try:
            self.data_source()
        except ConfigError as error:
            raise misfit(*error.faults) from None
        return self

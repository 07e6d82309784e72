"""The interface of a data source: its settings, the names of its splits, and the rows of a split. Imports no torch.

A source is a file of this package, or a module outside stc that is named by its dotted path. The module defines one
subclass of :class:`Source`. Its fields are the settings, and it yields the rows. :mod:`stc.data.rows` checks them, the
same for every source. A member of the config group ``data`` names the source and gives its settings.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stc.errors import ConfigError, Fault, InputError, command_line_value, field_error, validate_model
from stc.system.extension_lookup import class_by_name
from stc.system.hub_files import HubFiles
from stc.system.paths import Folder

_FOLDER_NEEDED = (
    "data.path=FOLDER names the data to train and test on; data=talks is the small synthetic corpus that ships with stc"
)


class DataNotFound(InputError):
    """The data are not there, or have no split of that name."""


class SplitNotFound(DataNotFound):
    """The data are there, and have no split of that name, or a smaller one."""


class Columns(BaseModel):
    """The keys under which a record holds its audio and its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: str
    source: str
    target: str


_DEFAULT_COLUMNS = Columns(audio="audio", source="source", target="target")


@dataclass(frozen=True)
class AudioBytes:
    """The content of an audio file, and the ``suffix`` of its format, such as ``.wav``."""

    content: bytes
    suffix: str


@dataclass(frozen=True)
class Row:
    """An utterance as a source states it, not checked yet. What the source does not state is None.

    Attributes:
        where: file and line, or what the source has instead, for messages.
        number: position in the split; an id is made of it for a row without one.
        audio: path of an audio file relative to the source's folder, or the bytes of one.
        duration: seconds.
        offset: where the utterance begins in the audio, in seconds; ``duration`` is then the length of the segment.
        sha256: digest of the whole audio file.
        content: what represents the row in the identity of the data. By default everything the row states. A source
            that picks its rows from records by ``columns`` (which are in the identity too) may give the record.
        column_names: what messages call its audio and texts.
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
    column_names: Columns = _DEFAULT_COLUMNS


class SplitPart(BaseModel):
    """A part of a split: the rows ``start`` to ``stop`` of its rows in an order drawn by a seed.

    The order is that of ``train_test_split`` of the library ``datasets``: its test set of 100 rows is ``start=0,
    stop=100``, and its train set ``start=100``. Parts with the same seed that do not overlap share no row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    seed: int = Field(ge=0, lt=2**32)
    start: int = Field(default=0, ge=0)
    stop: int | None = Field(default=None, ge=1)

    def __str__(self) -> str:
        return f"{self.of}[{self.start}:{'' if self.stop is None else self.stop}] in the order of seed {self.seed}"

    def numbers(self, count: int) -> frozenset[int]:
        """Return the positions of its rows in a split of ``count`` rows, counted from 0.

        Raises:
            InputError: the split has fewer rows.
        """
        import numpy as np

        stop = count if self.stop is None else self.stop
        if not self.start < stop <= count:
            raise InputError(f"it has {count} rows, and rows {self.start} to {stop} are needed")
        return frozenset(np.random.default_rng(self.seed).permutation(count)[self.start : stop].tolist())


class Source(BaseModel, ABC):
    """A place that data come from. The audio of its rows is bytes; see :class:`FolderSource` for files.

    Each field is a setting, given under ``data.source`` beside the name. The fields ``path``, ``columns`` and
    ``allow_links`` of a source that has them are the settings ``data.path``, ``data.columns`` and ``data.allow_links``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    PLACE: ClassVar[str] = "name"
    """The setting that says where the data are, for messages. With ``data.path``, that does."""

    name: str

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """Return the names of the splits there are.

        Raises:
            DataNotFound: the data are not there.
        """

    @abstractmethod
    def rows(self, split: str) -> Iterator[Row]:
        """Yield the rows of an existing split, always in the same order.

        Raises:
            InputError: something is wrong; the message names file and line.
        """

    def has(self, split: str) -> bool:
        """Return whether the source has a split."""
        return split in self.splits()

    def count(self, split: str) -> int:
        """Return the number of rows of a split."""
        return sum(1 for _ in self.rows(split))

    def identity(self, split: str) -> Mapping[str, Any] | None:
        """Return what identifies a split for good, such as a commit; by default None: its content has to be read."""
        return None

    def downloads(self) -> Iterator[HubFiles]:
        """Yield what is read of the Hugging Face hub; by default nothing.

        Raises:
            InputError: it cannot be read without network.
        """
        return iter(())

    def described(self, split: str) -> str:
        """Return the name of a split for messages."""
        return f"split {split!r} of {self.name}"


class FolderSource(Source):
    """A source whose audio may be files in a folder.

    Attributes:
        path: the folder. Audio paths are relative to it and may not leave it.
        allow_links: whether a link inside the folder may lead to audio outside of it.
    """

    path: Folder
    allow_links: bool = False


def _with_settings(source: object) -> object:
    return {"name": source} if isinstance(source, str) else source


class SourceSettings(BaseModel):
    """The settings that say which data are read. The group ``data`` and the stage that reads them share these.

    Attributes:
        source: the name of a source (:class:`Source`), or a mapping of ``name`` and the source's own settings.
        path: the folder of the data, for a source that has one.
        columns: the keys of a record, for a source that has records.
        allow_links: whether a link in ``path`` may lead to audio outside of it.
    """

    path: Folder | None = None
    columns: Columns | None = None
    allow_links: bool = False
    source: Annotated[Mapping[str, Any], BeforeValidator(_with_settings)] = {"name": "json_lines"}

    def data_source(self) -> Source:
        """Return the source with its settings.

        Raises:
            ConfigError: there is no such source, or these settings are not valid for it.
        """
        name = self.source.get("name")
        cls = class_by_name("stc.data.sources", name, Source, "source.name")  # type: ignore[type-abstract]
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
                key,
                given[key],
                f"the source {name} has no such setting; {key}={command_line_value(field.default)} leaves it out"
                + ("; data=folder takes a folder of yours" if key == "path" else ""),
            )
            for key, field in SourceSettings.model_fields.items()
            if key in given.keys() - known
        ]
        faults += [
            Fault(f"source.{key}", self.source[key], f"is set by {key} instead") for key in self.source.keys() & beside
        ]
        try:
            source = validate_model(cls, {**self.source, **known})
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
            raise field_error(*error.faults) from None
        return self

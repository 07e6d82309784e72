"""hub: a data set of the Hugging Face hub, or a folder in a layout that ``datasets`` loads (Parquet, Arrow, audio)."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from stc.data.sources import AudioBytes, Columns, DataNotFound, Row, Source
from stc.errors import InputError, first_line, suggestion
from stc.system.hub_files import HubFiles
from stc.system.paths import expand_home
from stc.system.read_files import read_bytes

log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds that the hub has to answer."""
AUDIO_BYTES = 2**30
"""The largest audio file that is read from a data set, in bytes."""


class Hub(Source):
    """A data set with a column of audio and columns of text.

    A split may be several of the data set's own, joined by ``+``, as in ``dev+eval``. The audio may have any format
    that stc reads and any sampling rate. ``datasets`` does not decode it, so torchcodec and FFmpeg are not needed.

    Attributes:
        dataset: the id of a data set of the hub, such as ``ymoslem/ACL-6060``, or a local folder.
        config: the configuration of the data set, if it has several. It may have a ``*``: ``en_zh*`` for ``en_zh-CN``.
        revision: the commit of the hub's data set. The data are then identified by it, without reading them.
        columns: the names of the columns of audio and texts.
        id_column: the column with the ids of rows; rows are numbered if it is null.
        streaming: read rows over the network without downloading the data set first, for a small ``data.limit``.
    """

    PLACE: ClassVar[str] = "dataset"

    dataset: str
    config: str | None = None
    revision: Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")] | None = None
    columns: Columns
    id_column: str | None = None
    streaming: bool = False

    def splits(self) -> list[str]:
        return _splits(self._location(), self.configuration(self.config), self.revision)

    def configuration(self, pattern: str | None) -> str | None:
        """Return the name of the one configuration that matches a pattern.

        Raises:
            InputError: none matches, or several do.
        """
        if pattern is None or "*" not in pattern:
            return pattern
        names = _configurations(self._location(), self.revision)
        found = fnmatch.filter(names, pattern)
        if len(found) != 1:
            raise InputError(f"{self.dataset} must have one configuration {pattern}; it has {', '.join(names)}")
        return found[0]

    def has(self, split: str) -> bool:
        return set(split.split("+")) <= set(self.splits())

    def described(self, split: str) -> str:
        return f"split {split!r} of {self.dataset}"

    def identity(self, split: str) -> Mapping[str, Any] | None:
        """Return what identifies a split without reading it: the commit. None for a folder or without a revision."""
        if self.revision is None or self._is_local():
            return None
        return self.model_dump(mode="json", exclude={"streaming", "columns"}) | {"split": split}

    def count(self, split: str) -> int:
        if self.streaming:
            raise InputError(f"{self.described(split)}: a part of a split is drawn from its length: streaming=false")
        return sum(len(self._data(self.config, name)) for name in split.split("+"))

    def rows(self, split: str) -> Iterator[Row]:
        number = 0
        for name in split.split("+"):
            for record in self._records(self.config, name):
                number += 1
                yield self._row(record, number, f"{self.dataset}, {name}, row {number}")

    def downloads(self) -> Iterator[HubFiles]:
        if self._is_local():
            return
        if self.streaming:
            raise InputError(f"{self.dataset} is read over the network, row by row (streaming=false downloads it)")
        for config in self._configs():
            yield HubFiles(
                "data",
                self.dataset,
                "dataset",
                revision=self.revision,
                detail=config or "",
                files=partial(_data_files, self.dataset, config, self.revision),
                unpack=partial(_unpack, self.dataset, config, self.revision),
                unpacked=partial(_is_unpacked, self.dataset, config),
            )

    def _configs(self) -> list[str | None]:
        """Return the configurations that are read."""
        return [self.configuration(self.config)]

    def _row(self, record: Mapping[str, Any], number: int, where: str, target: str | None = None) -> Row:
        return Row(
            where=where,
            number=number,
            audio=self._audio(under(record, self.columns.audio, where), where),
            source=under(record, self.columns.source, where),
            target=under(record, self.columns.target, where) if target is None else target,
            id=None if self.id_column is None else under(record, self.id_column, where),
            column_names=self.columns,
        )

    def _is_local(self) -> bool:
        return Path(expand_home(self.dataset)).is_dir()

    def _location(self) -> str:
        return str(Path(expand_home(self.dataset)).resolve()) if self._is_local() else self.dataset

    def _data(self, config: str | None, split: str) -> Any:
        """Return a split as ``datasets`` has it: a Dataset, or an IterableDataset when streaming."""
        from datasets import Audio, load_dataset, load_from_disk

        location, name = self._location(), self.configuration(config)
        with _library_errors(self.dataset):
            if Path(location, "dataset_dict.json").exists():
                data = load_from_disk(location)[split]
            else:
                data = load_dataset(location, name, split=split, revision=self.revision, streaming=self.streaming)
            for column, feature in (data.features or {}).items():
                if isinstance(feature, Audio):
                    data = data.cast_column(column, Audio(decode=False))
            return data

    def _records(self, config: str | None, split: str, *, audio: bool = True) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a split, without their audio if it is not needed: it is most of what there is to read."""
        data = self._data(config, split)
        if not audio and self.columns.audio in (data.column_names or ()):
            data = data.remove_columns(self.columns.audio)
        records = iter(data)
        while True:
            with _library_errors(self.dataset):  # a shard may be read, or fetched, at any row
                record = next(records, None)
            if record is None:
                return
            yield record

    def _audio(self, audio: object, where: str) -> AudioBytes:
        if not isinstance(audio, Mapping) or not audio.keys() >= {"bytes", "path"}:
            raise InputError(f"{where}: {self.columns.audio} must be a column of audio")
        path = str(audio["path"] or "")
        suffix = os.path.splitext(path)[1]
        if audio["bytes"] is not None:
            return AudioBytes(audio["bytes"], suffix or ".audio")
        from datasets import config
        from huggingface_hub import constants

        if self.streaming:
            raise InputError(f"{where}: the audio is a file beside the rows, which cannot be streamed: streaming=false")
        # A data set that somebody else made may name any file of this machine.
        folders = (
            self._location(),
            str(constants.HF_HUB_CACHE),
            str(config.HF_DATASETS_CACHE),
            str(config.DOWNLOADED_DATASETS_PATH),
            str(config.EXTRACTED_DATASETS_PATH),
        )
        if not any(Path(os.path.realpath(path)).is_relative_to(os.path.realpath(one)) for one in folders):
            raise InputError(f"{where}: {path!r} is neither in {self.dataset} nor in the cache of the hub")
        try:
            return AudioBytes(read_bytes(Path(path), limit=AUDIO_BYTES), suffix)
        except FileNotFoundError:
            raise InputError(f"{where}: {path} is missing") from None


def under(record: Mapping[str, Any], column: str, where: str) -> Any:
    """Return the value of a column; raise InputError if there is no such column."""
    if column not in record:
        raise InputError(f"{where}: no column {column!r}; columns: {', '.join(record)}{suggestion(column, record)}")
    return record[column]


def _data_files(dataset: str, config: str | None, revision: str | None) -> list[str]:
    """Return the names of the files of a configuration on the hub, with those that describe the data set."""
    from datasets import load_dataset_builder

    with _library_errors(dataset):
        files = load_dataset_builder(dataset, config, revision=revision).config.data_files or {}
    # hf://datasets/OWNER/NAME@COMMIT/PATH
    paths = [str(file).partition("@")[2].partition("/")[2] for several in files.values() for file in several]
    return ["README.md", *(glob.escape(path) for path in paths)]


def _unpack(dataset: str, config: str | None, revision: str | None) -> None:
    """Have ``datasets`` write the tables that it reads without network."""
    from datasets import load_dataset

    with _library_errors(dataset):
        load_dataset(dataset, config, revision=revision)


def _unpacked_configurations(dataset: str) -> list[str]:
    """Return the configurations of which ``datasets`` has tables in its cache. Raise FileNotFoundError if of none."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    owner, _, name = dataset.rpartition("/")
    folder = Path(config.HF_DATASETS_CACHE, "___".join([*filter(None, [owner]), camelcase_to_snakecase(name)]))
    if not folder.is_dir():
        raise FileNotFoundError(f"it is not in {folder}, and the hub cannot be asked")
    return sorted(one.name for one in folder.iterdir() if one.is_dir())


def _is_unpacked(dataset: str, config: str | None) -> bool:
    """Return whether ``datasets`` finds the tables of a configuration in its cache."""
    from datasets.packaged_modules.cache.cache import Cache

    try:
        Cache(repo_id=dataset, dataset_name=dataset.split("/")[-1], config_name=config, version="auto", hash="auto")
    except ValueError:
        return False
    return True


@lru_cache(maxsize=8)
def _configurations(location: str, revision: str | None) -> list[str]:
    from datasets import get_dataset_config_names
    from huggingface_hub import constants

    with _library_errors(location):
        if constants.HF_HUB_OFFLINE and not os.path.isdir(location):
            return _unpacked_configurations(location)
        return [str(name) for name in get_dataset_config_names(location, revision=revision)]


@lru_cache(maxsize=8)  # a run asks for each of its splits
def _splits(location: str, config: str | None, revision: str | None) -> list[str]:
    from datasets import get_dataset_split_names

    if Path(location, "dataset_dict.json").exists():
        return sorted(path.parent.name for path in Path(location).glob("*/state.json"))
    with _library_errors(location):
        return [str(name) for name in get_dataset_split_names(location, config, revision=revision)]


@contextmanager
def _library_errors(dataset: str) -> Iterator[None]:
    """Turn an error of ``datasets`` into one that names the data set and what can be done."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from datasets.utils.logging import disable_progress_bar, set_verbosity_error
    from httpx import HTTPError
    from huggingface_hub.errors import GatedRepoError
    from pyarrow import ArrowException

    disable_progress_bar()
    set_verbosity_error()  # it warns of each data set that it finds in its cache without network
    is_local = os.path.isdir(expand_home(dataset))
    if not is_local:
        _use_cache_if_offline()
    try:
        yield
    except GatedRepoError:
        raise DataNotFound(f"{dataset} is gated: accept its terms on the hub, then log in (hf auth login)") from None
    except DatasetNotFoundError as error:
        raise DataNotFound(f"{dataset}: {first_line(error)}") from None
    except (FileNotFoundError, ConnectionError, HTTPError) as error:
        why = first_line(error).rstrip(".")
        if is_local:
            raise DataNotFound(f"{dataset}: {why}") from None
        raise DataNotFound(
            f"{dataset}: no such folder here, and {why}. Without network, fetch it first on a machine that has one "
            "(python -m stc.pull)"
        ) from None
    except (DatasetsError, ArrowException, RuntimeError, ValueError, OSError) as error:
        hint = ""
        if "scripts are no longer supported" in str(error):
            hint = "; the hub may have it as Parquet: data.source.revision=COMMIT of its branch refs/convert/parquet"
        raise InputError(f"{dataset} cannot be read: {first_line(error)}{hint}") from None


@cache
def _use_cache_if_offline() -> None:
    """Have the libraries look only into the cache if the hub does not answer twice: by themselves they try for 24 s."""
    import datasets
    import huggingface_hub
    from httpx import HTTPError

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return
    for _ in range(2):
        try:
            huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=TIMEOUT)
            return
        except (HTTPError, OSError) as error:
            why = first_line(error)
    log.warning("the Hugging Face hub does not answer (%s): data sets are taken from this machine's cache", why)
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True

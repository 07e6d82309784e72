"""json_lines: a folder with a JSON Lines file for each split, an utterance a line, and the audio beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.data.rows import error_context
from stc.data.sources import Columns, DataNotFound, FolderSource, Row
from stc.errors import InputError, suggestion
from stc.system.read_files import parse_json, read_lines


class JsonLines(FolderSource):
    """A reader of ``<path>/<split>.jsonl``, one JSON object a line, with audio paths relative to ``path``.

    ``columns`` names the keys of audio and texts. A line may also have ``id``, ``sha256``, ``duration`` and ``offset``.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".jsonl",)

    columns: Columns

    def splits(self) -> list[str]:
        if not self.path.is_dir():
            forms = ", ".join(self.SUFFIXES)
            raise DataNotFound(f"{self.path} is not there: a folder with a {forms} file for each split is needed")
        return sorted({file.stem for file in self.path.iterdir() if file.suffix in self.SUFFIXES})

    def has(self, split: str) -> bool:
        return os.path.exists(self._file(split))

    def described(self, split: str) -> str:
        return str(self._file(split))

    def rows(self, split: str) -> Iterator[Row]:
        for number, where, content in self.records(split):
            with error_context(where):
                row = Row(
                    where=where,
                    number=number,
                    audio=_under(content, self.columns.audio),
                    source=_under(content, self.columns.source),
                    target=_under(content, self.columns.target),
                    id=content.get("id"),
                    duration=content.get("duration"),
                    offset=content.get("offset"),
                    sha256=content.get("sha256"),
                    content=content,
                    column_names=self.columns,
                )
            yield row

    def records(self, split: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Yield the number of each line, its place for messages, and its content.

        Raises:
            InputError: a line cannot be read.
        """
        file = self._file(split)
        for number, text in read_lines(file):
            where = f"{file}, line {number}"
            yield number, where, parse_json(text, where, dict[str, Any])

    def _file(self, split: str) -> Path:
        found = [file for suffix in self.SUFFIXES if (file := self.path / f"{split}{suffix}").exists()]
        if len(found) > 1:
            raise InputError(f"split {split!r} is in {' and in '.join(map(str, found))}: one of them is needed")
        return found[0] if found else self.path / f"{split}{self.SUFFIXES[0]}"


def _under(content: Mapping[str, Any], column: str) -> Any:
    if column not in content:
        raise InputError(f"nothing under {column!r}; keys: {', '.join(content)}{suggestion(column, content)}")
    return content[column]

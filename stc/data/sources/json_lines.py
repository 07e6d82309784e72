"""json_lines: a folder with a JSON Lines file for each split, an utterance a line, and the audio beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stc.data.rows import told
from stc.data.sources import Absent, Columns, FolderSource, Row
from stc.errors import InputError, nearest
from stc.system.read_files import parse_json, read_lines


class JsonLines(FolderSource):
    """Reads ``<path>/<split>.jsonl``: a JSON object a line, audio paths relative to ``path``, and under ``id``,
    ``sha256``, ``duration`` and ``offset`` what else a line states."""

    columns: Columns

    def splits(self) -> list[str]:
        if not self.path.is_dir():
            raise Absent(f"{self.path} is not there: a folder with a .jsonl file for each split is needed")
        return sorted(file.stem for file in self.path.glob("*.jsonl"))

    def has(self, split: str) -> bool:
        return os.path.exists(self._file(split))

    def described(self, split: str) -> str:
        return str(self._file(split))

    def rows(self, split: str) -> Iterator[Row]:
        file = self._file(split)
        for number, text in read_lines(file):
            where = f"{file}, line {number}"
            content = parse_json(text, where, dict[str, Any])
            with told(where):
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
                    called=self.columns,
                )
            yield row

    def _file(self, split: str) -> Path:
        return self.path / f"{split}.jsonl"


def _under(content: Mapping[str, Any], column: str) -> Any:
    if column not in content:
        raise InputError(f"no text under {column!r}; keys: {', '.join(content)}{nearest(column, content)}")
    return content[column]

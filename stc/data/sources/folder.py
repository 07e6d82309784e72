"""folder: a folder with a file for each split, in JSON Lines, CSV or TSV, and the audio beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from stc.data.sources.json_lines import JsonLines
from stc.errors import InputError
from stc.system.read_files import read_lines


class Folder(JsonLines):
    """A reader of ``<path>/<split>.jsonl``, ``.csv`` or ``.tsv``. The first line of a table names its columns.

    Attributes:
        quotes: whether quotation marks in a table enclose values (``double``: a mark inside a value is written twice)
            or are part of the text (``none``). By default they enclose values in CSV and are text in TSV, as in the
            files of Common Voice and CoVoST.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".jsonl", ".csv", ".tsv")

    quotes: Literal["double", "none"] | None = None

    def records(self, split: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        file = self._file(split)
        if file.suffix == ".jsonl":
            yield from super().records(split)
            return
        quotes = self.quotes or ("double" if file.suffix == ".csv" else "none")
        reader = csv.reader(
            (text for _, text in read_lines(file)),
            delimiter="," if file.suffix == ".csv" else "\t",
            quoting=csv.QUOTE_MINIMAL if quotes == "double" else csv.QUOTE_NONE,
            strict=True,
        )
        columns: list[str] = []
        try:
            for number, values in enumerate(reader):
                where = f"{file}, line {reader.line_num}"
                if not columns:
                    columns = values
                    continue
                if len(values) != len(columns):
                    raise InputError(
                        f"{where}: {len(values)} values for {len(columns)} columns; quotes={quotes} is how quotation "
                        "marks are read (data.source.quotes)"
                    )
                # An empty value is one that the row does not state, except for the texts.
                texts = (self.columns.source, self.columns.target)
                stated = zip(columns, values, strict=True)
                yield number, where, {key: value for key, value in stated if value or key in texts}
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: {error} (data.source.quotes={quotes})") from None

"""Tables of text, for a terminal and in Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

NONE = "–"
WIDTH = 100
"""The most columns that a table or a note takes in a terminal."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its two lines.
        show: returns the cell of a row.
        align_left: whether the cells are aligned left.
        required_key: :func:`filled_columns` leaves the column out if no row has this key.
        is_bold: whether the cell of a row is bold, in formats that have bold type.
    """

    title: tuple[str, str]
    show: Callable[[Row], str]
    align_left: bool = False
    required_key: str = "name"
    is_bold: Callable[[Row], bool] = lambda row: False


TableFormat = Callable[[Sequence[Column], Sequence[Row]], list[str]]
"""A function that writes a table: columns and rows → its lines, titles included."""


def terminal_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table for a terminal, titles included.

    Figures that do not fit into :data:`WIDTH` follow below, in a table with the same texts on the left. A text in the
    last column stays where it is, however long, as a sentence at the end of the line.
    """
    texts = list(takewhile(lambda column: column.align_left, columns)) or list(columns[:1])
    fixed, width = _columns_width(texts, rows) - 2, 0
    parts: list[list[Column]] = []
    for column in columns[len(texts) :]:
        width += (taken := _columns_width([column], rows))
        at_the_end = column is columns[-1] and column.align_left
        if not parts or (len(parts[-1]) > len(texts) and fixed + width > WIDTH and not at_the_end):
            parts.append([*texts])
            width = taken
        parts[-1].append(column)
    tables = [_one_table(part, rows) for part in parts or [texts]]
    return [line for number, table in enumerate(tables) for line in ([""] if number else []) + table]


def _one_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    cells = [[column.show(row) for column in columns] for row in rows]
    titles = [[column.title[line] for column in columns] for line in range(2)]
    widths = [_columns_width([column], rows) - 2 for column in columns]
    rule = "  ".join("─" * width for width in widths)
    head, body = ([_line(columns, row, widths) for row in part] for part in (titles, cells))
    return [*filter(None, head), rule, *body]


def _columns_width(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Return how many terminal columns these take, each with two of space."""
    return sum(2 + max(map(_width, [*column.title, *map(column.show, rows)])) for column in columns)


def markdown_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table in Markdown."""
    titles = [" ".join(filter(None, column.title)) for column in columns]
    rules = ["---" if column.align_left else "---:" for column in columns]
    cells = [[_markdown_cell(column, row) for column in columns] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (titles, rules, *cells)]


def _markdown_cell(column: Column, row: Row) -> str:
    cell = column.show(row).replace("|", "\\|")
    return f"**{cell}**" if column.is_bold(row) else cell


def filled_columns(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns that some row has something for."""
    return [column for column in columns if any(column.required_key in row for row in rows)]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(cell + space if column.align_left else space + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many terminal columns a text takes: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

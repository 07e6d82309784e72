"""Tables of text, for a terminal and in Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "–"


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: its title in two lines, and what of a row it shows; left out where no row has the key it ``needs``.
    Where it is ``strong`` it is bold, in forms that have bold type."""

    title: tuple[str, str]
    show: Callable[[Row], str]
    left: bool = False  # aligned
    needs: str = "name"
    strong: Callable[[Row], bool] = lambda row: False


TableFormat = Callable[[Sequence[Column], Sequence[Row]], list[str]]
"""How a table is written: its columns and rows → its lines, titles included."""


def terminal_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """A table for a terminal, its titles included, by line."""
    cells = [[column.show(row) for column in columns] for row in rows]
    titles = [[column.title[line] for column in columns] for line in range(2)]
    widths = [max(map(_width, column)) for column in zip(*titles, *cells, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    head, body = ([_line(columns, row, widths) for row in part] for part in (titles, cells))
    return [*filter(None, head), rule, *body]


def markdown_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """The same table in Markdown, by line."""
    titles = [" ".join(filter(None, column.title)) for column in columns]
    rules = ["---" if column.left else "---:" for column in columns]
    cells = [[_marked_cell(column, row) for column in columns] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (titles, rules, *cells)]


def _marked_cell(column: Column, row: Row) -> str:
    shown = column.show(row).replace("|", "\\|")
    return f"**{shown}**" if column.strong(row) else shown


def filled_columns(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns for which some row has something."""
    return [column for column in columns if any(column.needs in row for row in rows)]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(cell + space if column.left else space + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns a terminal uses: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

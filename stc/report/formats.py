"""The formats of a report: for a terminal, Markdown and LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from stc.system.tables import WIDTH, Column, Row, markdown_table, terminal_table

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "−": "$-$",  # a minus sign, which pdfTeX does not know by itself
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "[": "{[}",  # at the start of a row, LaTeX would read it as an option of the row break before
    }
)
_PREAMBLE = r"""\documentclass{article}
\usepackage[a3paper, margin=10mm]{geometry}
\usepackage{booktabs}
\begin{document}
\footnotesize
\setlength{\tabcolsep}{4pt}
"""


@dataclass(frozen=True)
class TitledTable:
    """A table with its title, notes on its figures, and a sentence that says what is bold."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    bold: str = ""

    @property
    def caption(self) -> str:
        return " ".join(filter(None, [*self.notes, self.bold]))


def terminal(tables: Sequence[TitledTable]) -> str:
    """Return the tables for a terminal. The text ends in a newline."""
    parts = []
    for table in tables:
        lines = [table.title, ""]
        lines += [*terminal_table(table.columns, table.rows), ""] if table.rows else []
        parts.append("\n".join([*lines, *textwrap.wrap(" ".join(table.notes), WIDTH)]).rstrip())
    return "\n\n\n".join(parts) + "\n"


def markdown(heading: str, tables: Sequence[TitledTable]) -> str:
    """Return the tables in Markdown, under a heading. The text ends in a newline."""
    parts = [f"# {heading}"]
    for table in tables:
        body = "\n".join(markdown_table(table.columns, table.rows)) if table.rows else ""
        parts += filter(None, [f"## {table.title}", body, table.caption])
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[TitledTable]) -> str:
    r"""Return a LaTeX document that compiles as it is. Each ``table`` in it can be copied, and needs booktabs."""
    parts = []
    for table in tables:
        caption = f"{table.title}. {table.caption}".strip()
        body = ["\\centering", *_tabular(table.columns, table.rows)] if table.rows else []
        parts.append("\n".join(["\\begin{table}[p]", *body, f"\\caption{{{escape_latex(caption)}}}", "\\end{table}"]))
    return "\n".join([_PREAMBLE, *parts, "\\end{document}"]) + "\n"


def _tabular(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    titles = [[escape_latex(column.title[line]) for column in columns] for line in range(2)]
    cells = [[_cell(column, row) for column in columns] for row in rows]
    return [
        f"\\begin{{tabular}}{{{''.join('l' if column.align_left else 'r' for column in columns)}}}",
        "\\toprule",
        *(_row(line) for line in titles if any(line)),
        "\\midrule",
        *map(_row, cells),
        "\\bottomrule",
        "\\end{tabular}",
    ]


def _cell(column: Column, row: Row) -> str:
    text = escape_latex(column.show(row))
    return f"\\textbf{{{text}}}" if column.is_bold(row) else text


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def escape_latex(text: str) -> str:
    """Return the text with every character escaped that LaTeX reads as a command."""
    return text.translate(_LATEX)

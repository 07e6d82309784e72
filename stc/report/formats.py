"""How a report is written: for a terminal, in Markdown, in LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from stc.system.tables import Column, Row, markdown_table, terminal_table

_WIDTH = 100
_ESCAPED = {
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
    "[": "{[}",  # at the start of a row it would be taken for an option of the row break before
}
_PREAMBLE = r"""\documentclass{article}
\usepackage[a3paper, margin=10mm]{geometry}
\usepackage{booktabs}
\begin{document}
\footnotesize
\setlength{\tabcolsep}{4pt}
"""


@dataclass(frozen=True)
class TitledTable:
    """A table under a title, with sentences that say what its figures mean, and one that says what is bold."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    bold: str = ""

    @property
    def caption(self) -> str:
        return " ".join(filter(None, [*self.notes, self.bold]))


def terminal(blocks: Sequence[TitledTable]) -> str:
    """Blocks one after the other. Ends in a newline."""
    parts = []
    for block in blocks:
        lines = [block.title, ""]
        lines += [*terminal_table(block.columns, block.rows), ""] if block.rows else []
        parts.append("\n".join([*lines, *textwrap.wrap(" ".join(block.notes), _WIDTH)]).rstrip())
    return "\n\n\n".join(parts) + "\n"


def markdown(heading: str, blocks: Sequence[TitledTable]) -> str:
    """The same under a heading. Ends in a newline."""
    parts = [f"# {heading}"]
    for block in blocks:
        parts.append(f"## {block.title}")
        if block.rows:
            parts.append("\n".join(markdown_table(block.columns, block.rows)))
        if block.caption:
            parts.append(block.caption)
    return "\n\n".join(parts) + "\n"


def latex(blocks: Sequence[TitledTable]) -> str:
    r"""A document that compiles as it is; each ``table`` in it can be copied, and needs booktabs. Ends in a newline."""
    tables = []
    for block in blocks:
        caption = f"{block.title}. {block.caption}".strip()
        body = ["\\centering", *_tabular(block.columns, block.rows)] if block.rows else []
        tables.append("\n".join(["\\begin{table}[p]", *body, f"\\caption{{{escaped(caption)}}}", "\\end{table}"]))
    return "\n".join([_PREAMBLE, *tables, "\\end{document}"]) + "\n"


def _tabular(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    titles = [[escaped(column.title[line]) for column in columns] for line in range(2)]
    cells = [[_cell(column, row) for column in columns] for row in rows]
    return [
        f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in columns)}}}",
        "\\toprule",
        *(_row(line) for line in titles if any(line)),
        "\\midrule",
        *map(_row, cells),
        "\\bottomrule",
        "\\end{tabular}",
    ]


def _cell(column: Column, row: Row) -> str:
    shown = escaped(column.show(row))
    return f"\\textbf{{{shown}}}" if column.strong(row) else shown


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def escaped(text: str) -> str:
    """Text as LaTeX sets it, whatever signs are in it."""
    return "".join(_ESCAPED.get(sign, sign) for sign in text)

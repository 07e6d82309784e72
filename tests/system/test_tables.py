"""Tables of text: what does not fit into a terminal follows below."""

from __future__ import annotations

import pytest

from stc.system.tables import WIDTH, Column, markdown_table, terminal_table

ROWS = [{"name": "teacher"}, {"name": "pruned"}]


def columns(count: int, width: int) -> list[Column]:
    figures = [Column(("", f"f{n}"), lambda row, n=n: f"{n}".rjust(width, "0")) for n in range(count)]
    return [Column(("", "system"), lambda row: row["name"], align_left=True), *figures]


@pytest.mark.parametrize(("count", "width", "tables"), [(3, 10, 1), (9, 8, 1), (10, 8, 2), (20, 8, 3), (2, 99, 2)])
def test_figures_that_do_not_fit_follow_below_beside_the_same_names(count: int, width: int, tables: int) -> None:
    lines = terminal_table(columns(count, width), ROWS)
    assert sum(line.startswith("pruned") for line in lines) == tables
    assert max(map(len, lines)) <= max(WIDTH, width + len("teacher") + 2)  # a figure is never cut
    cells = [cell for line in lines if line.startswith("pruned") for cell in line.split()[1:]]
    assert [int(cell) for cell in cells] == list(range(count))


def test_texts_alone_are_one_table() -> None:
    texts = [Column(("", name), lambda row: "word " * 15, align_left=True) for name in ("job", "why")]
    assert len(terminal_table(texts, ROWS)) == 4


def test_markdown_is_one_table_whatever_its_width() -> None:
    assert len(markdown_table(columns(20, 8), ROWS)) == 4


def test_text_at_the_end_of_a_line_stays_beside_its_row_however_long() -> None:
    columns = [
        Column(("", "job"), lambda row: str(row["name"])),
        Column(("", "ended"), lambda row: str(row["why"]), align_left=True),
    ]
    lines = terminal_table(columns, [{"name": 7, "why": "failed: " + "x" * 200}])
    assert lines[-1].split()[:2] == ["7", "failed:"]

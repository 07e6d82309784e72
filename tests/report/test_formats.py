"""A report in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from stc.report.formats import TitledTable, escape_latex, latex
from stc.report.sweep_report import render
from stc.system.tables import Column


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_markdown_rows_of_a_table_have_equally_many_cells(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, finetune="full")
    sweep.ask({"finetune": "lora"})
    tables = re.findall(r"(?:^\|.*\n)+", render(sweep.folder).markdown, flags=re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_csv_has_every_digit_and_the_ends_of_intervals(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, finetune="full")
    sweep.add({"teacher": 1, "pruned-nf4": 9}, finetune="lora")
    report = render(sweep.folder)
    written = rows_of(report.csv)
    assert [(row["system"], row["finetune"]) for row in written] == [
        ("teacher", ""),
        ("pruned-nf4", "full"),
        ("pruned-nf4", "lora"),
    ]
    for row, line in zip(written, report.groups[0].lines, strict=True):
        assert float(row["chrf_pp_points"]) == line.row["chrf_pp"]
        assert float(row["retention_ratio"]) == line.row["retention"]
        ends = (float(row["retention_low_ratio"]), float(row["retention_high_ratio"]))
        assert ends == line.row["retention_ci"]
        assert int(row["size_on_disk_bytes"]) == line.row["bytes_on_disk"]
    assert written[0]["jobs"].split() == [str(sweep.folder / name) for name in "01"]


def test_csv_lists_a_job_without_a_result(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, finetune="full")
    failed = sweep.ask({"finetune": "lora"})
    last = rows_of(render(sweep.folder).csv)[-1]
    assert (last["jobs"], last["finetune"], last["chrf_pp_points"]) == (str(failed), "lora", "")
    assert last["missing"].startswith("has no result.json")


def test_csv_of_seeds_has_deviations(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, seeds=[1, 2])
    row = rows_of(render(sweep.folder).csv)[1]
    assert row["seeds"] == "1 2"
    assert float(row["retention_deviation_ratio"]) > 0
    assert "retention_low_ratio" not in row


def test_latex_commands_are_escaped() -> None:
    assert escape_latex("a_b & 5 % #1 {x} ~ ^ \\ $") == (
        r"a\_b \& 5 \% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    assert escape_latex("−1.2 – ±0.3 ≥ [") == r"$-$1.2 -- $\pm$0.3 $\geq$ {[}"


def test_latex_rows_have_equally_many_cells_and_environments_are_closed(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, prune="block_influence", finetune="full")
    sweep.add({"teacher": 1, "pruned-nf4": 8}, prune="greedy", finetune="full")
    text = render(sweep.folder, pivot=("prune", "finetune")).latex
    for environment in ("document", "table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
    for columns, body in re.findall(r"\\begin{tabular}{([lr]+)}\n(.*?)\\end{tabular}", text, flags=re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    assert r"block\_influence" in text
    assert not re.findall("[^\x00-\x7f]", text)  # pdfTeX sets it without further packages


def test_title_of_one_line_adds_no_empty_line() -> None:
    block = TitledTable("a title", [Column(("", "name"), lambda row: str(row["name"]))], [{"name": "x"}])
    assert "\\toprule\nname \\\\\n\\midrule" in latex([block])

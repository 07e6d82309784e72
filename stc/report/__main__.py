"""``python -m stc.report [FOLDER…]``: report the results of a sweep or a run as tables and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stc.system.console import run_command

_DESCRIPTION = """\
Report the results of a sweep or a run: a table for each language, with the compressed model of every job and the
controls, all relative to the same reference. Everything is read from the store. Jobs without a result are listed, too.
"""

_FORMATS = ("terminal", "markdown", "csv", "latex")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return 0, 1 (a folder or the store is at fault) or 2 (the arguments are)."""
    return run_command(lambda: _report(parse_options(arguments)))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stc.report", description=_DESCRIPTION)
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="folders of sweeps or runs (default: the latest of outputs/ and multirun/)",
    )
    parser.add_argument(
        "--systems",
        metavar="WHICH",
        help="all, controls, or names with commas between (default: the controls and the last system of each job)",
    )
    parser.add_argument(
        "--pivot",
        nargs="+",
        metavar="KEY",
        help="ROWS COLUMNS [VALUE]: one figure by two settings, each a key or several with + between, as in "
        "prune finetune+distill retention; each combination of the other settings has its own table",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="of the plots of quality against size (default: comet if every system has it, else that of retention)",
    )
    parser.add_argument("--format", choices=_FORMATS, default="terminal", help="what is printed (default: terminal)")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also write report.md, report.csv, report.tex and the plots"
    )
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="where the results are (default: the store of each job)"
    )
    options = parser.parse_args(arguments)
    if options.pivot and len(options.pivot) not in (2, 3):
        parser.error(f"--pivot takes ROWS COLUMNS [VALUE], not {' '.join(options.pivot)}")
    return options


def _report(options: argparse.Namespace) -> int:
    from stc.report.csv_export import cells_csv
    from stc.report.sweep_report import render

    report = render(options.folders, options.store, systems=options.systems, pivot=options.pivot, metric=options.metric)
    if options.format == "csv" and report.pivots:
        print(cells_csv(report.pivots), end="")
    else:
        print(getattr(report, options.format), end="")
    if options.out:
        files = report.save(options.out)
        print(f"\nwritten to {options.out}: {', '.join(file.name for file in files)}", file=sys.stderr)
    return 0 if report.groups else 1


if __name__ == "__main__":
    sys.exit(main())

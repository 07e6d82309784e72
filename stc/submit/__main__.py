"""``python -m stc.submit RUN --task TASK --output FOLDER``: hand a compressed model in to a shared task."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stc.errors import InputError
from stc.system.console import run_command, whole_number

TASKS = ("iwslt2026", "wmt26")

_DESCRIPTION = """\
Write the hand-in of a run for a shared task. iwslt2026: a file of translations for each test set, and the description
of the model. wmt26: a folder that sets itself up and translates, without stc. Everything is checked before it is
written. --check lists what is wrong with a hand-in, whoever wrote it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check a hand-in; return 0, 1 (something is at fault) or 2 (the arguments are)."""
    parser = _parser()

    def run() -> int:
        options = parser.parse_args(arguments)
        if options.check is not None:
            return _check(options)
        for name in ("run", "task", "output"):
            if getattr(options, name) is None:
                parser.error(f"{'RUN' if name == 'run' else f'--{name}'} is needed, or --check FOLDER")
        if options.task == "iwslt2026" and options.team is None:
            parser.error("--team is needed: the name of a model begins with it")
        return _iwslt(options) if options.task == "iwslt2026" else _wmt(options)

    return run_command(run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stc.submit", description=_DESCRIPTION)
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="the folder of a run: outputs/DATE/TIME")
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="a new or an empty folder")
    parser.add_argument("--system", help="which system of the run's table (default: the last, the compressed model)")
    parser.add_argument(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="data that the model was made with, beside those that the run knows; may be repeated",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is")
    parser.add_argument("--batch-size", type=whole_number, metavar="N", help="utterances at a time")
    iwslt = parser.add_argument_group("iwslt2026")
    iwslt.add_argument("--team", metavar="NAME", help="the team's short name")
    iwslt.add_argument(
        "--track", choices=("constrained", "unconstrained"), default="constrained", help="default: constrained"
    )
    kind = iwslt.add_mutually_exclusive_group()
    kind.add_argument("--primary", action="store_true", help="the one that is ranked (the default)")
    kind.add_argument(
        "--contrastive", nargs="?", type=whole_number, const=0, metavar="N", help="another one; N tells several apart"
    )
    iwslt.add_argument(
        "--test",
        action="append",
        default=[],
        metavar="NAME[=DATA]",
        help="a test set, by the task's name; DATA is a JSON Lines file, whose lines need no more than audio, a YAML "
        "list of segments of talks, or a manifest folder; without DATA: the run's own translations (default: --test "
        "test); may be repeated",
    )
    iwslt.add_argument("--allow-empty", action="store_true", help="hand empty translations in, too")
    wmt = parser.add_argument_group("wmt26")
    wmt.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a manifest folder to take the utterance from that proves the model, if the store has none for it",
    )
    check = parser.add_argument_group("checking")
    check.add_argument("--check", type=Path, metavar="FOLDER", help="check a hand-in instead of writing one")
    check.add_argument(
        "--input", type=Path, metavar="FILE", help="of a wmt26 hand-in: also run it on this file, as the organisers do"
    )
    return parser


def _iwslt(options: argparse.Namespace) -> int:
    from stc.submit.iwslt import Entry, check_system, test_set_name, write
    from stc.submit.system import find_system
    from stc.submit.test_sets import Translations, own_test_set, read_test_data
    from stc.system.machine import resolve_device

    submission = "primary" if options.contrastive is None else f"contrastive{options.contrastive or ''}"
    entry = Entry(options.team, options.track, submission)
    named = _test_sets(options.test or ["test"])
    for name in named:
        test_set_name(name)
    _check_output(options.output)
    system = find_system(options.run, options.system, options.dataset)
    check_system(system, entry)
    own = {name: own_test_set(system, name) for name, data in named.items() if data is None}
    data = read_test_data(system, {name: path for name, path in named.items() if path is not None})
    kept = options.output.parent / f".{options.output.name}.translations"
    translations = Translations(system, kept, resolve_device(options.device), options.batch_size)
    found = own | {one.name: one for one in translations.of(data)}
    files = write(options.output, system, entry, [found[name] for name in named], allow_empty=options.allow_empty)
    translations.forget()
    print(f"{options.output}: {entry.model_name(system.language_pair)}, {system.storage_bytes:,} bytes")
    print("\n".join(f"  {file.name}" for file in files))
    return _tell(options.output)


def _wmt(options: argparse.Namespace) -> int:
    from stc.submit.system import find_system
    from stc.submit.wmt import write
    from stc.system.machine import resolve_device

    _check_output(options.output)
    system = find_system(options.run, options.system, options.dataset)
    pair = write(options.run, options.output, system, data=options.data, device=resolve_device(options.device))
    print(f"{options.output}: run.sh translates {pair}, once setup.sh has made its environment")
    return _tell(options.output)


def _check(options: argparse.Namespace) -> int:
    data = {name: path for name, path in _test_sets(options.test).items() if path is not None}
    return _tell(options.check, data, options.input)


def _tell(folder: Path, data: Mapping[str, Path] | None = None, run_on: Path | None = None) -> int:
    """Check a hand-in and print what was found; return 0, or 1 if there are faults."""
    from stc.submit.checker import check

    findings = check(folder, data, run_on)
    for note in findings.notes:
        print(f"note: {note}")
    for fault in findings.faults:
        print(f"fault: {fault}")
    print(f"{folder}: {len(findings.faults) or 'no'} fault{'s' * (len(findings.faults) != 1)}")
    return 1 if findings.faults else 0


def _test_sets(arguments: Sequence[str]) -> dict[str, Path | None]:
    """Return the data of each test set, None for the run's own translations."""
    found: dict[str, Path | None] = {}
    for argument in arguments:
        name, equals, data = argument.partition("=")
        if name in found:
            raise InputError(f"--test {name} is there twice")
        found[name] = Path(data) if equals else None
    return found


def _check_output(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--output: {out} already exists: a new or an empty folder is needed")
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"--output: {out} cannot be made: {place} is no folder that you may write to")


if __name__ == "__main__":
    sys.exit(main())

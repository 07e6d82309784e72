"""The command line of ``python -m stc.evaluate``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from stc.config.languages import language_argument, language_codes
from stc.data.over_window import OverWindow
from stc.data.segment_list import LIST_SUFFIXES
from stc.data.voice_activity import METHODS
from stc.metrics import resegmentation
from stc.system.console import add_compute_options, seconds, whole_number
from stc.system.paths import CONF

SETTINGS = CONF / "metrics" / "text.yaml"

_DESCRIPTION = """\
Translate one data set with each model folder and set their scores side by side: parameters, bytes on disk, metrics,
and how much of the quality of the best unpruned one each of them keeps. A folder may be a result of stc or anybody's,
in 4 bits or not. Whole talks are cut, and their translations divided into the lines of the references."""


@dataclass(frozen=True)
class System:
    """A model folder and its name in the table."""

    name: str
    folder: Path


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m stc.evaluate", description=_DESCRIPTION)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]FOLDER",
        help="model folders, or ids of results; the name is that of a row",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        type=Path,
        metavar="DATA",
        help="a manifest folder of the store, or its id; a JSON Lines file with audio paths relative to its folder; or "
        "a YAML list of segments of talks",
    )
    data.add_argument(
        "--lang",
        type=language_argument,
        metavar="CODE|FILE.yaml",
        help=f"target language: {', '.join(language_codes())}, or a file such as those in conf/lang; needed unless a "
        "manifest says it",
    )
    data.add_argument(
        "--audio",
        metavar="KEY|FOLDER",
        help="of the audio's path in a JSON line (default: audio); for a YAML list, the folder of the talks (default: "
        "its own)",
    )
    data.add_argument(
        "--target", metavar="KEY", help="of the reference translation in a line (default: text_ and the language)"
    )
    data.add_argument("--source", metavar="KEY", help="of the source text in a line, for a metric that reads it")
    data.add_argument("--limit", type=whole_number, metavar="N", help="only the first N utterances")
    data.add_argument(
        "--allow-links", action="store_true", help="follow links that lead to audio outside the file's folder"
    )
    data.add_argument(
        "--over-window",
        choices=get_args(OverWindow),
        default="refuse",
        help="split: cut utterances longer than the model's window in their pauses (default: refuse them)",
    )
    talks = parser.add_argument_group("talks")
    talks.add_argument("--talks", type=Path, nargs="+", default=[], metavar="AUDIO", help="whole recordings, in order")
    for what, which in (("references", "translations"), ("sources", "transcripts")):
        talks.add_argument(
            f"--{what}",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
            help=f"{which}: with --talks a file each, with a YAML list one that has a line a segment",
        )
    talks.add_argument(
        "--segmentation",
        metavar="METHOD|YAML",
        help=f"how talks are cut: {', '.join(METHODS)} (voice activity), or a YAML list of segments (default: the list "
        f"that --data names, else {METHODS[0]})",
    )
    talks.add_argument(
        "--resegment",
        choices=resegmentation.METHODS,
        default=resegmentation.METHODS[0],
        help="what divides a talk's translation into the lines of its references (default: %(default)s)",
    )
    talks.add_argument("--longest", type=seconds, metavar="SECONDS", help="of a segment (default: the model's window)")
    scoring = parser.add_argument_group("scores")
    scoring.add_argument(
        "--metrics", metavar="NAMES", help=f"with commas between (default: those of conf/metrics/{SETTINGS.name})"
    )
    scoring.add_argument(
        "--metric-setting",
        action="append",
        default=[],
        type=_metric_setting,
        metavar="METRIC.KEY=VALUE",
        help="such as comet.checkpoint=model.ckpt; may be repeated",
    )
    scoring.add_argument(
        "--blind",
        action="store_true",
        help="there are no references: keep the translations in --output, and score by --metrics that need none",
    )
    scoring.add_argument(
        "--scores",
        action="append",
        default=[],
        type=_outside_scores,
        metavar="NAME=FILE",
        help="scores of a metric computed elsewhere, a sentence a line; {system} in FILE stands for the name of a row. "
        "Without data, nothing is translated",
    )
    scoring.add_argument("--lower-is-better", default="", metavar="NAMES", help="of --scores that count errors")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="JSON instead of the table")
    output.add_argument(
        "--output", type=Path, metavar="FOLDER", help="keep translations, references and scores of each there"
    )
    add_compute_options(parser)
    return parser


def _metric_setting(text: str) -> tuple[str, str, Any]:
    """Return the metric, the key and the value of an argument METRIC.KEY=VALUE."""
    import yaml

    place, equals, value = text.partition("=")
    metric, dot, key = place.rpartition(".")
    if not (equals and dot and metric and key):
        raise argparse.ArgumentTypeError(f"{text!r} is not METRIC.KEY=VALUE")
    try:
        return metric, key, yaml.safe_load(value)
    except yaml.YAMLError:
        return metric, key, value


def _outside_scores(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (equals and file and re.fullmatch(r"[\w-]+", name)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, with a name of letters, digits, _ and -")
    return name, file


def named_system(argument: str) -> System:
    """Return the system of an argument FOLDER or NAME=FOLDER."""
    name, equals, folder = argument.partition("=")
    if equals and not Path(argument).exists():
        return System(name, Path(folder))
    path = Path(argument)
    return System(path.name or path.resolve().name, path)


def find_fault(systems: Sequence[System], options: argparse.Namespace) -> str | None:
    """Return what is wrong with the arguments as a whole, before anything is read."""
    for index, system in enumerate(systems):
        if system.name in ("", ".", "..") or "/" in system.name:
            return f"{system.name!r} cannot be the name of a row of the table"
        if system.name in (other.name for other in systems[:index]):
            return f"two systems are called {system.name!r}: give one of them as NAME={system.folder}"
    if options.data is not None and options.talks:
        return "--data and --talks: one of them is needed"
    if options.data is None and not options.talks and not options.scores:
        return "--data DATA or --talks AUDIO is needed, or --scores, with which nothing is translated"
    return _fault_of_talks(options) or _fault_of_scores(systems, options)


def _fault_of_talks(options: argparse.Namespace) -> str | None:
    of_talks = ("references", "sources", "segmentation", "longest")
    of_utterances = ("target", "source", "limit", "allow_links")
    wrong, kind = (of_utterances, "utterances") if are_talks(options) else (of_talks, "talks")
    if are_talks(options) and options.over_window == "split":
        return "--over-window is for utterances: segments of talks are split anyway"
    if given := [name for name in wrong if getattr(options, name)]:
        return f"--{given[0].replace('_', '-')} is for {kind}"
    if not are_talks(options):
        return None
    if options.lang is None:
        return "--lang is needed: talks do not say into which language they are translated"
    if options.blind == bool(options.references):
        return "--references FILE or --blind is needed, and not both"
    if not options.talks and max(len(options.references), len(options.sources)) > 1:
        return "--references and --sources: a YAML list of segments has one file each"
    if options.talks and options.audio:
        return "--audio is for --data"
    return None


def _fault_of_scores(systems: Sequence[System], options: argparse.Namespace) -> str | None:
    names = [name for name, _ in options.scores]
    if options.blind and options.target:
        return "--target names references, and with --blind there are none"
    if options.blind and options.output is None:
        return "--blind needs --output FOLDER, where the translations are kept"
    if unknown := [name for name in filter(None, options.lower_is_better.split(",")) if name not in names]:
        return f"--lower-is-better: {unknown[0]!r} is none of --scores"
    if twice := [name for name in names if names.count(name) > 1]:
        return f"--scores: {twice[0]} is there twice; {{system}} in the name of the file stands for each system"
    if len(systems) > 1 and (same := [file for _, file in options.scores if "{system}" not in file]):
        return f"--scores: {same[0]} cannot be of every system: put {{system}} in place of the system's name"
    if options.data is None and not options.talks:
        if options.lang is None:
            return "--lang is needed: scores do not say their language"
        if options.metrics or options.blind or options.output:
            return "--metrics, --blind and --output are for data that are translated: --data or --talks"
    return None


def are_talks(options: argparse.Namespace) -> bool:
    """Return whether talks are translated, and not utterances."""
    return bool(options.talks) or (options.data is not None and options.data.suffix in LIST_SUFFIXES)

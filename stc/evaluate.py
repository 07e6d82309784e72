"""``python -m stc.evaluate FOLDER… --data MANIFEST``: score model folders on one data set, side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.config.languages import language_codes, load_language, retention_metric
from stc.data.manifest import Manifest
from stc.errors import InputError, StcError
from stc.metrics.metric import metric_named
from stc.store.artifact import Kind
from stc.store.lineage import language_mismatch
from stc.store.lookup import resolve_artifact
from stc.system.console import add_compute_options, default_dtype, run_command, say, whole_number
from stc.system.machine import resolve_device
from stc.system.paths import CONF
from stc.system.read_files import read_yaml

if TYPE_CHECKING:
    from stc.metrics.score_files import Scores

_SETTINGS = CONF / "metrics" / "text.yaml"
_SEED = 0

_DESCRIPTION = """\
Translate one data set with each model folder and set their scores side by side: parameters, bytes on disk, metrics,
and how much of the quality of the best unpruned one each of them keeps. A folder may be a result of stc or anybody's,
in 4 bits or not."""


@dataclass(frozen=True)
class System:
    """A model folder and its name in the table."""

    name: str
    folder: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Score model folders and return the exit code: 0, 1 (a folder or the data is wrong) or 2 (the arguments)."""
    parser = _parser()

    def run() -> int:
        options = parser.parse_args(arguments)
        systems = [_system(argument) for argument in options.models]
        if fault := _fault(systems):
            parser.error(fault)
        return _evaluate(systems, options)

    return run_command(run)


def _parser() -> argparse.ArgumentParser:
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
        required=True,
        metavar="MANIFEST",
        help="a manifest folder of the store, or its id, or a JSON Lines file with audio paths relative to its folder",
    )
    data.add_argument("--lang", choices=language_codes(), help="target language; a JSON Lines file needs it")
    data.add_argument("--audio", default="audio", metavar="KEY", help="of the audio's path in a line (default: audio)")
    data.add_argument(
        "--target", metavar="KEY", help="of the reference translation in a line (default: text_ and the language)"
    )
    data.add_argument("--source", metavar="KEY", help="of the source text in a line, for a metric that reads it")
    data.add_argument("--limit", type=whole_number, metavar="N", help="only the first N utterances")
    data.add_argument(
        "--allow-links", action="store_true", help="follow links that lead to audio outside the file's folder"
    )
    parser.add_argument(
        "--metrics", metavar="NAMES", help=f"with commas between (default: those of conf/metrics/{_SETTINGS.name})"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="JSON instead of the table")
    output.add_argument(
        "--output", type=Path, metavar="FOLDER", help="keep translations, references and scores of each there"
    )
    add_compute_options(parser)
    return parser


def _system(argument: str) -> System:
    name, equals, folder = argument.partition("=")
    if equals and not Path(argument).exists():
        return System(name, Path(folder))
    path = Path(argument)
    return System(path.name or path.resolve().name, path)


def _fault(systems: Sequence[System]) -> str | None:
    for index, system in enumerate(systems):
        if system.name in ("", ".", "..") or "/" in system.name:
            return f"{system.name!r} cannot be the name of a row of the table"
        if system.name in (other.name for other in systems[:index]):
            return f"two systems are called {system.name!r}: give one of them as NAME={system.folder}"
    return None


def _evaluate(systems: Sequence[System], options: argparse.Namespace) -> int:
    metrics = options.metrics.split(",") if options.metrics else list(read_yaml(_SETTINGS).names)
    manifest = _manifest(options, metrics)
    for name in metrics:
        metric_named(name).check_ready(manifest.task.target_lang)
    device = resolve_device(options.device)
    if options.output is not None:
        for system in systems:
            _output_folder(options.output, system)
    sizes: dict[str, dict[str, Any]] = {}
    found: list[System] = []
    for named in systems:  # faults of a folder are reported before the first translation
        try:
            system = replace(named, folder=resolve_artifact(named.folder, Kind.MODEL))
            sizes[system.name] = _size(system.folder)
            found.append(system)
        except StcError as error:
            say(f"{named.name}: {error}")
            continue
        if note := language_mismatch(system.folder, manifest.task.target_lang):
            say(f"{system.name}: {note}")
    scores: dict[str, Scores] = {}
    for system in found:
        try:
            scores[system.name], faults = _scored(system, manifest, metrics, device, options)
            sizes[system.name]["output_faults"] = faults
        except StcError as error:
            say(f"{system.name}: {error}")
    if scores:
        _show(scores, sizes, options.json)
    return 1 if len(scores) < len(systems) else 0


def _manifest(options: argparse.Namespace, metrics: Sequence[str]) -> Manifest:
    """Return the data with its audio in place.

    Raises:
        InputError: something is wrong; the message names file and line.
    """
    from stc.data.sources import Columns
    from stc.stages.manifest import read_data

    reading = [name for name in metrics if metric_named(name).needs_source]
    if reading and options.data.suffix == ".jsonl" and options.source is None:
        raise InputError(f"--source is needed: {', '.join(reading)} reads the source text")
    target = options.target or f"text_{options.lang}"
    task = load_language(options.lang).task if options.lang else None
    manifest = read_data(
        options.data,
        Columns(audio=options.audio, source=options.source or target, target=target),
        task,
        limit=options.limit,
        allow_links=options.allow_links,
    )
    if task is not None and task.target_lang != manifest.task.target_lang:
        raise InputError(
            f"--lang {options.lang}: the references of {options.data} are in {manifest.task.target_lang!r}"
        )
    return manifest


def _size(folder: Path) -> dict[str, Any]:
    from stc.metrics.size import size_of

    size = size_of(folder)
    return {
        "layers": size.decoder_layers,
        "encoder_layers": size.encoder_layers,
        "params": size.parameters,
        "packed_elements": size.packed_elements,
        "bytes_on_disk": size.bytes_on_disk,
        "model_dir": str(folder),
    }


def _scored(
    system: System, manifest: Manifest, metrics: Sequence[str], device: str, options: argparse.Namespace
) -> tuple[Scores, dict[str, int]]:
    from stc.decoding.hypotheses import TranslationSettings, write_texts
    from stc.metrics.output_faults import output_faults
    from stc.metrics.score_files import HYPOTHESES_FILE, REFERENCES_FILE, Scores

    translating = TranslationSettings(
        dtype=options.dtype or default_dtype(device), max_new_tokens=options.max_new_tokens
    )
    cut_off: set[int] = set()
    model = translating.load_model(system.folder, device)
    texts = translating.translate_for_command(model, manifest, system.name, options.batch_size, cut_off)
    scores = Scores.of(metrics, texts, manifest.targets, manifest.task.target_lang, manifest.sources)
    told = (f"{metric_named(name).heading} {scored.score:.1f}" for name, scored in scores.metrics.items())
    say(f"{system.name}: {', '.join(told)}")
    if options.output is not None:
        folder = _output_folder(options.output, system)
        write_texts(folder / HYPOTHESES_FILE, texts)
        write_texts(folder / REFERENCES_FILE, manifest.targets)
        scores.save(folder)
    return scores, output_faults(texts, manifest, len(cut_off))


def _output_folder(output: Path, system: System) -> Path:
    folder = output / system.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be made: {error.strerror}") from None
    return folder


def _show(scores: Mapping[str, Scores], sizes: Mapping[str, Mapping[str, Any]], as_json: bool) -> None:
    from stc.metrics.comparison import compare_systems
    from stc.report.comparison import comparison_rows
    from stc.report.run_table import format_run_table

    first = next(iter(scores.values()))
    preferred = retention_metric(first.target_lang)
    settings = read_yaml(_SETTINGS)
    compared, quality = compare_systems(
        scores,
        {name: size["layers"] + size["encoder_layers"] for name, size in sizes.items()},
        metric=preferred if preferred in first.metrics else next(iter(first.metrics)),
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=_SEED,
    )
    content = {**compared, "systems": [{"name": name, **sizes[name], **quality[name]} for name in scores]}
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print(format_run_table(comparison_rows(content)), end="")


if __name__ == "__main__":
    sys.exit(main())

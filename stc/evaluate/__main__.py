"""``python -m stc.evaluate FOLDER… --data DATA``: score model folders on utterances or talks, side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.config.languages import retention_metric
from stc.data.manifest import Manifest
from stc.data.voice_activity import METHODS
from stc.errors import InputError, StcError, suggestion
from stc.evaluate.data import Data, read_data
from stc.evaluate.options import SETTINGS, System, find_fault, make_parser, named_system
from stc.metrics.metric import Settings, metric_named, metric_with
from stc.pipeline import model_cache
from stc.store.artifact import Kind
from stc.store.lineage import language_mismatch
from stc.store.lookup import resolve_artifact
from stc.system.console import default_dtype, progress, run_command, say
from stc.system.machine import DECODE_BATCH, resolve_device
from stc.system.read_files import read_yaml

if TYPE_CHECKING:
    from stc.metrics.score_files import MetricScore, Scores
    from stc.metrics.talks import Translated

SOURCES_FILE = "sources.txt"
SEGMENTS_FILE = "segments.yaml"
_SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Score model folders and return the exit code: 0, 1 (a folder or the data is wrong) or 2 (the arguments)."""
    parser = make_parser()

    def run() -> int:
        options = parser.parse_args(arguments)
        systems = [named_system(argument) for argument in options.models]
        if fault := find_fault(systems, options):
            parser.error(fault)
        return _evaluate(systems, options)

    return run_command(run)


def _evaluate(systems: Sequence[System], options: argparse.Namespace) -> int:
    translated = options.data is not None or bool(options.talks)
    names = [] if options.blind or not translated else list(read_yaml(SETTINGS).names)
    metrics = options.metrics.split(",") if options.metrics else names
    settings = _metric_settings(options, metrics)
    data = read_data(options, metrics) if translated else None
    lang = options.lang.code if data is None else data.task.target_lang
    for name in metrics:
        metric_with(name, settings).check_ready(lang)
        metric_with(name, settings).check_downloads()
    if options.blind and (needing := [name for name in metrics if metric_with(name, settings).needs_references()]):
        raise InputError(f"--blind: {', '.join(needing)} compares with references, and there are none")
    outside = _read_outside_scores(systems, options, data)
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
        if note := language_mismatch(system.folder, lang):
            say(f"{system.name}: {note}")
    scores: dict[str, Scores] = {}
    for system in found:
        try:
            scores[system.name], told = _scored(system, data, metrics, settings, outside[system.name], device, options)
            sizes[system.name] |= told
        except StcError as error:
            say(f"{system.name}: {error}")
    if scores:
        _show(scores, sizes, options.json)
    return 1 if len(scores) < len(systems) else 0


def _metric_settings(options: argparse.Namespace, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for metric, key, value in options.metric_setting:
        if metric not in metrics:
            raise InputError(f"--metric-setting {metric}.{key}: {metric!r} is not scored{suggestion(metric, metrics)}")
        settings.setdefault(metric, {})[key] = value
    return settings


def _read_outside_scores(
    systems: Sequence[System], options: argparse.Namespace, data: Data | None
) -> dict[str, dict[str, MetricScore]]:
    """Return the scores that were computed elsewhere, by system and metric.

    Raises:
        InputError: a file is missing or malformed, or has not one score for each sentence.
    """
    from stc.metrics.outside_scores import add_outside_metric, read_outside_scores

    for name, _ in options.scores:
        add_outside_metric(name, lower_is_better=name in options.lower_is_better.split(","))
    found: dict[str, dict[str, MetricScore]] = {}
    expected = None if data is None else data.sentences
    for system in systems:
        found[system.name] = {}
        for name, pattern in options.scores:
            scores = read_outside_scores(name, Path(pattern.replace("{system}", system.name)))
            expected = expected or len(scores.statistics)
            found[system.name][name] = scores
        _check_sentences(system, found[system.name], expected or 0)
    return found


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
    system: System,
    data: Data | None,
    metrics: Sequence[str],
    settings: Settings,
    outside: Mapping[str, MetricScore],
    device: str,
    options: argparse.Namespace,
) -> tuple[Scores, dict[str, Any]]:
    """Return the scores of a system, and for the notes below the table ``output_faults`` (none where there are no
    references) and ``cut_lines``."""
    from stc.metrics.output_faults import output_faults
    from stc.metrics.score_files import Scores

    if data is None:
        sentences = len(next(iter(outside.values())).statistics)
        return Scores(target_lang=options.lang.code, sentences=sentences, metrics=dict(outside)), {"output_faults": {}}
    found = _translated(system, data, device, options)
    if options.output is not None:  # before anything can fail that comes after hours of translating
        _save_texts(_output_folder(options.output, system), found, data)
    _check_sentences(system, outside, len(found.texts))
    nothing = [""] * len(found.texts)
    references = nothing if data.references is None else data.references
    lang = data.task.target_lang
    scored = Scores.of(metrics, found.texts, references, lang, data.sources, settings)
    scores = scored.model_copy(update={"metrics": {**scored.metrics, **outside}})
    told = [f"{metric_named(name).heading} {one.score:.1f}" for name, one in scores.metrics.items()]
    say(f"{system.name}: {', '.join(told) or f'{scores.sentences} lines'}")
    if options.output is not None and scores.metrics:
        scores.save(_output_folder(options.output, system))
    faults: dict[str, int] = {}
    if data.references is not None:
        faults = output_faults(found.texts, references, data.sources or nothing, data.task, found.cut_off)
    return scores, {"output_faults": faults, "cut_lines": found.cut_lines}


def _check_sentences(system: System, outside: Mapping[str, MetricScore], sentences: int) -> None:
    for name, scores in outside.items():
        if len(scores.statistics) != sentences:
            raise InputError(
                f"--scores {name}: {system.name} has {len(scores.statistics)} scores for {sentences} sentences"
            )


def _translated(system: System, data: Data, device: str, options: argparse.Namespace) -> Translated:
    from stc.decoding.hypotheses import TranslationSettings, join_parts, lines_with
    from stc.metrics.talks import Translated, translate_talks

    translating = TranslationSettings(
        dtype=options.dtype or default_dtype(device), max_new_tokens=options.max_new_tokens
    )
    model_cache.clear()  # a metric may have a model in memory
    model = translating.load_model(system.folder, device)
    if isinstance(data.content, Manifest):
        cut_off: set[int] = set()
        texts = translating.translate_for_command(model, data.content, system.name, options.batch_size, cut_off)
        joined = join_parts(data.content, texts)
        return Translated(joined, cut_off=lines_with(data.content, cut_off), cut_lines=data.content.cut_lines)
    found = translate_talks(
        model,
        data.task,
        data.content,
        method=options.segmentation if options.segmentation in METHODS else METHODS[0],
        resegment=options.resegment,
        longest=options.longest,
        batch_size=options.batch_size or DECODE_BATCH[device],
        max_new_tokens=options.max_new_tokens,
        progress=lambda title, total, unit="it": progress(f"{system.name}: {title}", total, unit),
    )
    for note in found.notes:
        say(f"{system.name}: {note}")
    return found


def _save_texts(folder: Path, translated: Translated, data: Data) -> None:
    import yaml

    from stc.decoding.hypotheses import write_texts
    from stc.metrics.score_files import HYPOTHESES_FILE, REFERENCES_FILE

    write_texts(folder / HYPOTHESES_FILE, translated.texts)
    if data.references is not None:
        write_texts(folder / REFERENCES_FILE, data.references)
    if any(data.sources):
        write_texts(folder / SOURCES_FILE, data.sources)
    if translated.segments:
        (folder / SEGMENTS_FILE).write_text(yaml.safe_dump(translated.segments, sort_keys=False), encoding="utf-8")


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
    from stc.report.run_table import SIZES, SYSTEM, format_run_table
    from stc.system.tables import terminal_table

    first = next(iter(scores.values()))
    if not first.metrics:
        rows = [{"name": name, **sizes[name], "sentences": one.sentences} for name, one in scores.items()]
        table = "\n".join(terminal_table([SYSTEM, *SIZES], rows))
        print(json.dumps({"systems": rows}, indent=1, ensure_ascii=False) if as_json else table)
        return
    preferred = retention_metric(first.target_lang)
    settings = read_yaml(SETTINGS)
    compared, quality = compare_systems(
        scores,
        {name: size["layers"] + size["encoder_layers"] for name, size in sizes.items()},
        metric=preferred if preferred in first.metrics else next(iter(first.metrics)),
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=_SEED,
    )
    compared["cut_lines"] = max(size.get("cut_lines", 0) for size in sizes.values())
    content = {**compared, "systems": [{"name": name, **sizes[name], **quality[name]} for name in scores]}
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print(format_run_table(comparison_rows(content)), end="")


if __name__ == "__main__":
    sys.exit(main())

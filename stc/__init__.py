"""Speech translation compression: make a large speech-translation model small, and show what it cost.

The functions here are for notebooks and scripts; ``docs/python.md`` shows them at work. Importing stc imports neither
torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stc.system.version import VERSION

if TYPE_CHECKING:
    from stc.metrics.score_files import Size
    from stc.models.architecture import Stack
    from stc.models.load_and_save import Translator
    from stc.report.sweep_report import Report
    from stc.store import Store

__version__ = VERSION
__all__ = [
    "load_model",
    "model_size",
    "open_store",
    "plan_run",
    "quantize_model",
    "read_result",
    "remove_layers",
    "report_on",
    "run_config",
    "save_model",
    "score_texts",
    "translate_recordings",
]


def load_model(
    folder: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", dtype: str | None = None
) -> Translator:
    """Load a model from a folder, or by the id of a result in the store ``store``.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: the precision of computing, ``float32`` or ``bfloat16``; by default bfloat16 on a GPU.

    Raises:
        StcError: the folder is no model that stc knows, or it is damaged.
    """
    from stc.models.load_and_save import load
    from stc.store.artifact import Kind
    from stc.store.lookup import resolve_artifact
    from stc.system.console import default_dtype
    from stc.system.machine import resolve_device

    found = resolve_device(device)
    return load(resolve_artifact(Path(folder), Kind.MODEL), device=found, dtype=dtype or default_dtype(found))


def save_model(model: Translator, folder: str | Path) -> None:
    """Write a model as a Hugging Face folder, with plain weights in bfloat16; the folder is made."""
    from stc.models.load_and_save import save

    Path(folder).mkdir(parents=True, exist_ok=True)
    save(model, Path(folder))


def translate_recordings(
    model: Translator,
    recordings: Sequence[str | Path],
    lang: str,
    *,
    batch_size: int = 16,
    max_new_tokens: int = 256,
) -> list[str]:
    """Translate audio files of any length, and return one text each.

    Args:
        lang: a code of ``conf/lang`` (``de``), or a YAML file with the same keys.

    Raises:
        InputError: the language is not known, or a recording cannot be read; the message names it.
    """
    from functools import partial

    from stc.config.languages import load_language
    from stc.data.audio_file import open_audio
    from stc.data.voice_activity import METHODS, pause_finder
    from stc.decoding.long_recordings import translate_recordings as translate
    from stc.decoding.output_formats import join_segments
    from stc.errors import InputError
    from stc.system.console import progress

    found = translate(
        model,
        load_language(lang).task,
        [(str(path), partial(open_audio, Path(path))) for path in recordings],
        longest=None,
        find_pauses=pause_finder(METHODS[0], model.processor.feature_extractor.sampling_rate),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )
    texts = []
    for recording in found:
        if recording.error is not None:
            raise InputError(recording.error)
        texts.append(join_segments([segment.text for segment in recording.segments]))
    return texts


def remove_layers(model: Translator, layers: Collection[int], stack: Stack = "decoder") -> None:
    """Remove layers from a model in memory, and check that it is consistent afterwards.

    Args:
        layers: numbered from 0, as in the model before.
        stack: ``decoder`` or ``encoder``.

    Raises:
        ModelError: a layer does not exist or must stay, or the model computes something else with a cache.
    """
    from stc.models.layer_removal import check_cache, drop_layers

    drop_layers(model, stack, layers)
    check_cache(model)


def quantize_model(folder: str | Path, destination: str | Path, method: str = "nf4", **settings: Any) -> None:
    """Quantize the model of a folder, and write the result to another folder.

    Args:
        method: a member of ``conf/quant``.
        settings: in place of those of the member.

    Raises:
        ConfigError: there is no such method or setting.
        ModelError: the model is quantized already, or damaged.
    """
    from omegaconf import OmegaConf

    from stc.models.load_and_save import load, save
    from stc.quantization import quantizer
    from stc.system.machine import resolve_device
    from stc.system.paths import CONF
    from stc.system.read_files import read_yaml

    member = CONF / "quant" / f"{method}.yaml"
    defaults = OmegaConf.to_container(read_yaml(member)) if member.exists() else {"method": method}
    assert isinstance(defaults, dict)
    how = quantizer({**{str(key): value for key, value in defaults.items()}, **settings})
    Path(destination).mkdir(parents=True, exist_ok=True)
    save(load(Path(folder), device=resolve_device("auto"), dtype="bfloat16", quantize=how), Path(destination))


def model_size(folder: str | Path) -> Size:
    """Return layers, parameters, packed elements and bytes on disk of a model folder, without loading it."""
    from stc.metrics.size import size_of

    return size_of(Path(folder))


def score_texts(
    metric: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    lang: str,
    sources: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> float:
    """Return the score of translations, on the scale of about 0 to 100.

    Args:
        metric: ``bleu``, ``chrf``, ``chrf_pp`` or ``comet``, or a module of your own.
        lang: the language tag of the translations, for the tokenizer.
        settings: of the metric, such as ``{"checkpoint": …}`` of COMET.

    Raises:
        ConfigError: there is no such metric or setting.
        InputError: the numbers of texts differ, or what the metric needs is missing.
    """
    from stc.metrics.metric import metric_with, score

    how = metric_with(metric, {metric: settings or {}})
    return score(metric, hypotheses, references, lang, sources, how)


def plan_run(*overrides: str) -> str:
    """Return what ``python -m stc.run plan=true`` prints of a run: every stage, sizes, memory and disk.

    Raises:
        ConfigError: with every fault of the config.
    """
    from contextlib import redirect_stdout
    from io import StringIO

    from stc.config.override_checks import check_arguments
    from stc.planning.plan_command import print_plan
    from stc.system.paths import set_root_variable

    set_root_variable()
    with redirect_stdout(StringIO()) as text:
        print_plan(check_arguments(overrides))
    return text.getvalue()


def run_config(*overrides: str, folder: str | Path) -> dict[str, Any]:
    """Run what ``python -m stc.run`` would with these arguments, in this process, and return its result.

    Args:
        overrides: for one run; a sweep needs the command.
        folder: gets result.json and the plots; what is computed is in the store.

    Raises:
        ConfigError: with every fault of the config.
        StcError: a stage failed.
    """
    from stc.config.composition import compose_jobs
    from stc.config.override_checks import check_arguments
    from stc.errors import ConfigError, Fault
    from stc.jobs.job import run_job
    from stc.planning.preflight import check_jobs
    from stc.system.paths import set_root_variable

    set_root_variable()
    jobs = compose_jobs(check_arguments(overrides))
    if len(jobs) > 1:
        raise ConfigError([Fault("-m", " ".join(overrides), f"these are {len(jobs)} runs, and this function runs one")])
    check_jobs([job.plan for job in jobs], running=True)
    return run_job(jobs[0].config, Path(folder))


def read_result(folder: str | Path) -> dict[str, Any]:
    """Return the result of a finished run (result.json): its systems with scores, sizes and folders, and its stages.

    Raises:
        InputError: there is none, or it is damaged.
    """
    from stc.errors import InputError
    from stc.store.run_result import RESULT_FILE
    from stc.system.read_files import read_json

    try:
        return read_json(Path(folder) / RESULT_FILE, dict[str, Any])
    except FileNotFoundError:
        raise InputError(f"{Path(folder) / RESULT_FILE} is missing: no folder of a finished run") from None


def report_on(*folders: str | Path) -> Report:
    """Return the report on sweeps or runs, by default on the latest: ``print(report.markdown)``, ``report.save(…)``.

    Raises:
        InputError: a folder is not that of a run or sweep.
    """
    from stc.report.sweep_report import render

    return render([Path(folder) for folder in folders])


def open_store(folder: str | Path = "store") -> Store:
    """Return a store of results."""
    from stc.store import Store

    return Store(Path(folder))

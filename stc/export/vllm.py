"""Whether vLLM can load an export, by what its source asks of a folder of the family.

Checked against the source of the versions below and not run: vLLM needs a GPU and an environment of its own.
docs/export.md says what was read where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import PositiveInt
from typing_extensions import TypedDict

from stc.export.source import ExportForm
from stc.models import architecture, read_config
from stc.models.architecture import VLLMRequirements
from stc.models.folder import ModelFolder
from stc.models.prompts import EXTRACTOR_FILE, PROCESSOR_FILE
from stc.models.weights import attached_adapter, first_few
from stc.quantization import quantizer_of
from stc.system.read_files import read_json, validate_shape

VERSION = "0.33.0"


def refusals(folder: Path, form: ExportForm) -> list[str] | None:
    """Return why vLLM cannot load or use a folder, each reason by name; empty where nothing stands against it, and
    None where the family is one whose demands were not checked.

    Args:
        folder: a model's; of an adapter, the base's.
    """
    config = read_config(folder)
    asked = architecture(config["model_type"]).vllm(config)
    if asked is None:
        return None
    if form == "adapter" or attached_adapter(folder):
        return [f"vLLM takes no adapters for {asked.architecture}, which does not declare SupportsLoRA"]
    return list(_refusals(folder, config, asked))


def _refusals(folder: Path, config: Mapping[str, Any], asked: VLLMRequirements) -> Iterator[str]:
    if (named := config.get("architectures")) != [asked.architecture]:
        yield f"architectures is {named}, and vLLM knows {asked.architecture}"
    if (packed_by := quantizer_of(config)) is not None:
        method = config["quantization_config"].get("quant_method")
        if packed_by.VLLM is None:
            yield f"quantization method {method!r} was not checked"
        elif packed_by.VLLM:
            yield f"quantization method {method!r} is none vLLM has for {asked.architecture}: {packed_by.VLLM}"
    else:
        found = {name for name in ModelFolder.of(folder).tensors if not name.startswith(asked.encoder)}
        if missing := sorted(asked.names - found):
            yield f"weights that vLLM looks for are not there: {first_few(missing)}"
        if surplus := sorted(found - asked.names):
            yield f"weights are there that vLLM has no place for: {first_few(surplus)}"
    if (frames := _window(folder)) not in (None, asked.window):
        yield f"audio window is {frames} frames, and vLLM takes {asked.window} ({asked.window // 100} s) only"
    yield from asked.faults


class _Window(TypedDict):
    """What decides the window of a feature extractor: seconds, samples a second, samples a frame."""

    chunk_length: PositiveInt
    sampling_rate: PositiveInt
    hop_length: PositiveInt


def _window(folder: Path) -> int | None:
    """Frames of the feature extractor's window; None where the folder says none."""
    for name in (PROCESSOR_FILE, EXTRACTOR_FILE):
        with suppress(FileNotFoundError):
            found = read_json(folder / name, dict[str, Any])
            extractor = validate_shape(found.get("feature_extractor", found), str(folder / name), dict[str, Any])
            if "chunk_length" not in extractor:
                continue
            window = validate_shape(
                extractor, str(folder / name), _Window
            )  # when loaded, the rest is computed anew from it
            return window["chunk_length"] * window["sampling_rate"] // window["hop_length"]
    return None

"""Decide whether vLLM can load an export, according to vLLM's source code.

vLLM itself is not run, as it needs a GPU and an environment of its own. docs/export.md says which parts of the source
were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stc.export.source import ExportForm
from stc.models import architecture, read_config
from stc.models.architecture import VLLMRequirements
from stc.models.folder import ModelFolder
from stc.models.weights import attached_adapter, first_few
from stc.quantization import quantizer_of

VERSION = "0.33.0"


def refusals(folder: Path, form: ExportForm) -> list[str] | None:
    """Return the reasons why vLLM cannot load or use a model folder; None if its family was not checked.

    Args:
        folder: of the model, or of an adapter's base.
    """
    config = read_config(folder)
    required = architecture(config["model_type"]).vllm(config)
    if required is None:
        return None
    if form == "adapter" or attached_adapter(folder):
        return [f"vLLM takes no adapters for {required.architecture}, which does not declare SupportsLoRA"]
    return list(_reasons(folder, config, required))


def _reasons(folder: Path, config: Mapping[str, Any], required: VLLMRequirements) -> Iterator[str]:
    if (names := config.get("architectures")) != [required.architecture]:
        yield f"architectures is {names}, and vLLM knows {required.architecture}"
    if (quantizer := quantizer_of(config)) is not None:
        method = config["quantization_config"].get("quant_method")
        if quantizer.VLLM is None:
            yield f"quantization method {method!r} was not checked"
        elif quantizer.VLLM:
            yield f"quantization method {method!r} is none vLLM has for {required.architecture}: {quantizer.VLLM}"
    else:
        found = {name for name in ModelFolder.of(folder).tensors if not name.startswith(required.encoder)}
        if missing := sorted(required.names - found):
            yield f"weights that vLLM looks for are not there: {first_few(missing)}"
        if surplus := sorted(found - required.names):
            yield f"weights are there that vLLM has no place for: {first_few(surplus)}"
    if (frames := _window_frames(folder)) not in (None, required.window):
        yield f"audio window is {frames} frames, and vLLM takes {required.window} ({required.window // 100} s) only"
    yield from required.faults


def _window_frames(folder: Path) -> int | None:
    """Return the frames of the feature extractor's window; None if the folder has none."""
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder)
    except OSError:
        return None
    frames: int | None = getattr(extractor, "nb_max_frames", None)
    return frames

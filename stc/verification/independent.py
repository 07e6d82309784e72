"""An independent check of a saved model: a fresh process that imports transformers, and not stc, translates with it.

stc shortens the encoder's window, translates in batches and has its own way of loading. The independent process does
none of that. Equal texts therefore show that the folder holds the model that was scored, for anybody who loads it.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.errors import StcError
from stc.models import read_config
from stc.models.folder import ModelFolder
from stc.models.language_pair import Task
from stc.models.prompts import template_file
from stc.quantization import quantizer_of
from stc.system.subprocess_json import run_json
from stc.verification import plain_transformers

CheckedModel = tuple[Path, Path | None]
"""A model folder, and the folder of an adapter to put on the model, or None."""


def independent_translations(
    models: Sequence[CheckedModel], manifest: Manifest, settings: TranslationSettings, device: str
) -> list[list[str]]:
    """Translate a manifest with each model, in one fresh process: offline, one utterance at a time, by ``generate``.

    Args:
        models: models of one family.

    Raises:
        StcError: the process fails. The folder then does not load without stc.
    """
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # the other process may need the memory that torch keeps here for later
    found = [(ModelFolder.of(folder), adapter) for folder, adapter in models]
    request = {
        "models": [(str(model.path), (own := adapter or model.adapter) and str(own)) for model, adapter in found],
        "audio": [str(path) for path in manifest.audio_paths()],
        "device": device,
        "threads": torch.get_num_threads(),
        **loading_settings([model for model, _ in found], manifest.task, settings),
    }
    names = " and ".join(str(adapter or folder) for folder, adapter in models)
    # -P keeps the script's folder off the module path, where stc's modules could shadow those of libraries.
    texts: list[list[str]] = run_json(
        f"translating with {names} without stc", ["-P", plain_transformers.__file__], request, HF_HUB_OFFLINE="1"
    )
    return texts


def loading_settings(models: Sequence[ModelFolder], task: Task, settings: TranslationSettings) -> dict[str, Any]:
    """Return the part of a request to :mod:`stc.verification.plain_transformers` that models of one family decide."""
    first = models[0]
    quantizers = [model.quantizer for model in models if model.quantizer is not None]
    return {
        "conversation": first.family.conversation(task),
        "chat_template": first.family.chat_template if template_file(first.path) is None else None,
        "dtype": settings.dtype,
        "attention": settings.attention,
        "max_new_tokens": settings.max_new_tokens,
        "registers": [method.IMPORT_BEFORE_LOADING for method in quantizers if method.IMPORT_BEFORE_LOADING],
        "exactly": {name: value for method in quantizers for name, value in method.EXACT_SETTINGS.items()},
    }


def agreement(folder: Path, manifest: Manifest, ours: Sequence[str], theirs: Sequence[str], dtype: str) -> float:
    """Return the share of equal texts, in [0, 1].

    Unquantized weights in float32 must give equal texts. In bfloat16 or few bits, another order of summation may decide
    close calls differently.

    Raises:
        StcError: texts differ that must be equal. The message shows the first such utterance with both texts.
    """
    pairs = list(zip(manifest.rows, ours, theirs, strict=True))
    differing = [(row.id, own, other) for row, own, other in pairs if own != other]
    if differing and dtype == "float32" and quantizer_of(read_config(folder)) is None:
        name, own, other = differing[0]
        raise StcError(
            f"{folder} gives another text without stc for {len(differing)} of {len(pairs)} utterances, which float32 "
            f"does not allow; the first is {name!r}:\n  stc           {own}\n  transformers  {other}\n"
            "metrics.witnessed=0 scores without this check"
        )
    return 1 - len(differing) / len(pairs)

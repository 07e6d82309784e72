"""A witness for a saved model: a fresh process that knows transformers, and not stc, translates with its folder.

stc's own decoding hears a shortened window, batches, and loads in its own way. The witness has none of that, so
equal texts say that the folder holds what was scored, for whoever loads it.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import Translating
from stc.errors import StcError
from stc.models import read_config
from stc.models.folder import ModelFolder
from stc.models.prompts import template_file
from stc.quantization import stored_with
from stc.system.subprocess_json import ask
from stc.verification import plain_transformers

Witnessed = tuple[Path, Path | None]
"""A model folder, and a folder with an adapter to put on the model, or None."""


def witness(folder: Path, manifest: Manifest, stage: Translating, device: str) -> list[str]:
    """What transformers' own ``generate`` makes of every utterance: one at a time, offline, by a fresh process.

    Args:
        stage: says how to compute and where to stop.

    Raises:
        StcError: the process fails; the folder then is none that loads without stc.
    """
    return witnesses([(folder, None)], manifest, stage, device)[0]


def witnesses(models: Sequence[Witnessed], manifest: Manifest, stage: Translating, device: str) -> list[list[str]]:
    """The same for several models of one family, one after the other, by one fresh process.

    Raises:
        StcError: as :func:`witness`.
    """
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # the other process may need what torch keeps here for later
    found = [(ModelFolder.of(folder), adapter) for folder, adapter in models]
    first = found[0][0]
    packed_by = [one.quantizer for one, _ in found if one.quantizer is not None]
    request = {
        "models": [(str(one.path), (on := adapter or one.adapter) and str(on)) for one, adapter in found],
        "conversation": first.family.conversation(manifest.task),
        "chat_template": first.family.chat_template if template_file(first.path) is None else None,
        "audio": [str(path) for path in manifest.audio_paths()],
        "device": device,
        "dtype": stage.dtype,
        "attention": stage.attention,
        "max_new_tokens": stage.max_new_tokens,
        "threads": torch.get_num_threads(),
        "registers": [method.REGISTERS for method in packed_by if method.REGISTERS],
        "exactly": {name: value for method in packed_by for name, value in method.EXACTLY.items()},
    }
    # -P: the script's folder is not searched for modules, so that stc's are not taken for the libraries'.
    named = " and ".join(str(adapter or folder) for folder, adapter in models)
    texts: list[list[str]] = ask(
        f"translating with {named} without stc", ["-P", plain_transformers.__file__], request, HF_HUB_OFFLINE="1"
    )
    return texts


def agreement(folder: Path, manifest: Manifest, ours: Sequence[str], theirs: Sequence[str], dtype: str) -> float:
    """The share of equal texts, in [0, 1].

    In float32, plain weights have to give the same text. In bfloat16 and in few bits the order of sums decides
    close calls, and it is not the same.

    Raises:
        StcError: a text differs that has not to; with its utterance and both texts.
    """
    pairs = list(zip(manifest.rows, ours, theirs, strict=True))
    differing = [(row.id, own, other) for row, own, other in pairs if own != other]
    if differing and dtype == "float32" and stored_with(read_config(folder)) is None:
        name, own, other = differing[0]
        raise StcError(
            f"{folder} gives another text without stc for {len(differing)} of {len(pairs)} utterances, which float32 "
            f"does not allow; the first is {name!r}:\n  stc           {own}\n  transformers  {other}\n"
            "metrics.witnessed=0 scores without this check"
        )
    return 1 - len(differing) / len(pairs)

"""The shapes of all weights of a model, from its config.json: its class is instantiated without memory for weights.

A process without torch asks another one, ``python -m stc.models.shapes``, which reads a parsed config.json from
standard input and writes the shapes. That takes seconds, so the answer is cached in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import Any

from stc.errors import InputError
from stc.models import architecture
from stc.system.durable_files import write_atomically
from stc.system.paths import user_cache
from stc.system.read_files import read_json
from stc.system.subprocess_json import run_json

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(config: Mapping[str, Any]) -> Shapes:
    """Return the shape of every weight, by its name in the model. A process computes it once for each config."""
    return _shapes(json.dumps(config, sort_keys=True))


@cache
def _shapes(config: str) -> Shapes:
    answer = _build(json.loads(config)) if "torch" in sys.modules else _ask_or_read_cache(config)
    return {name: tuple(shape) for name, shape in answer.items()}


def _ask_or_read_cache(config: str) -> dict[str, Any]:
    digest = hashlib.sha256(f"transformers {version('transformers')} {config}".encode()).hexdigest()
    file = user_cache() / "shapes" / f"{digest}.json"
    with suppress(OSError, InputError):  # a damaged file is as good as none
        return read_json(file, dict[str, list[int]])
    answer: dict[str, Any] = run_json("counting weights", ["-m", "stc.models.shapes"], json.loads(config))
    with suppress(OSError):  # without a cache, it is asked again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(answer))
    return answer


def _build(config: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    model_class = architecture(config["model_type"]).model_class()
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(dict(config)))
    return {name: weight.shape for name, weight in model.named_parameters()}


if __name__ == "__main__":
    json.dump(_build(json.load(sys.stdin)), sys.stdout)

"""The weights that a config.json describes: those of the family's own model class, made without memory for a number.

A process without torch asks another one, ``python -m stc.models.shapes``, which reads a parsed config.json
and writes the shape of each weight by its name. That takes seconds, so the answer is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.models import architecture
from stc.system.durable_files import write_atomically
from stc.system.read_files import read_json
from stc.system.subprocess_json import run_json

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(config: Mapping[str, Any]) -> Shapes:
    """Return the shape of every weight, by its name in the model. Each process works it out once for each config."""
    return _shapes(json.dumps(config, sort_keys=True))


@cache
def _shapes(config: str) -> Shapes:
    answer = _built(json.loads(config)) if "torch" in sys.modules else _asked(config)
    return {name: tuple(shape) for name, shape in answer.items()}


def _asked(config: str) -> dict[str, Any]:
    digest = hashlib.sha256(f"transformers {version('transformers')} {config}".encode()).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "stc" / "shapes" / f"{digest}.json"
    with suppress(OSError, InputError):  # one that is damaged is as good as none
        return read_json(kept, dict[str, list[int]])
    answer: dict[str, Any] = run_json("counting weights", ["-m", "stc.models.shapes"], json.loads(config))
    with suppress(OSError):  # where nothing can be kept, it is asked again
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(answer))
    return answer


def _built(config: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    model_class = architecture(config["model_type"]).model_class()
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(dict(config)))
    return {name: weight.shape for name, weight in model.named_parameters()}


if __name__ == "__main__":
    json.dump(_built(json.load(sys.stdin)), sys.stdout)

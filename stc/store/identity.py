"""The identity of a result: a hash of the stage, its settings, its inputs and what else decides the result."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on


class Spec(TypedDict):
    """The content whose hash is an identity."""

    stage: str
    version: NotRequired[int]
    config: dict[str, Any]
    surroundings: NotRequired[dict[str, Any]]
    inputs: dict[str, str | dict[str, Any]]
    generation: NotRequired[int]


def canonical_json(value: Any) -> str:
    """Return JSON that is the same for equal values.

    Raises:
        TypeError: a value has no such form: a path, a set, NaN, an object.
    """
    return json.dumps(_stable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _stable(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a key without stable form in {value!r}")
        return {key: _stable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stable(item) for item in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"{value!r} ({type(value).__name__}) has no stable form, so it cannot identify a result")


def identity_of(spec: Mapping[str, Any]) -> str:
    """Return the identity of what ``spec`` describes: 20 hexadecimal digits."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:20]


def is_identity(name: str) -> bool:
    """Return whether a name in a store belongs to a result. Others gave every other name, and stc leaves it alone."""
    return re.fullmatch("[0-9a-f]{20}", name) is not None

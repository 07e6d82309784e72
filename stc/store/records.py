"""Records: what identifies a result, and what is kept beside it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc.stage import RECORD_FILE

RECORD_SUM = "record_sha256"
"""Key of a record's own checksum: of all its other keys."""


def canonical(value: Any) -> str:
    """JSON with one spelling for equal values.

    Raises:
        TypeError: for a value that has none: a path, a set, NaN, an object.
    """
    return json.dumps(_checked(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _checked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a key without stable form in {value!r}")
        return {key: _checked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"{value!r} ({type(value).__name__}) has no stable form, so it cannot identify a result")


def identity_of(spec: Mapping[str, Any]) -> str:
    """The identity of what ``spec`` describes: 20 hexadecimal digits."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:20]


def read_record(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """A folder's record, or None and what is wrong with it."""
    return read_record_file(folder / RECORD_FILE)


def read_record_file(file: Path) -> tuple[dict[str, Any] | None, str]:
    """The record in a file, or None and what is wrong with it."""
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, f"{file.name} is missing"
    except ValueError:  # no JSON, or not even text
        return None, f"{file.name} is not JSON"
    if not isinstance(record, dict) or not {"files", "facts", RECORD_SUM} <= record.keys():
        return None, f"{file.name} is not a record: files, facts or {RECORD_SUM} are missing"
    if record.pop(RECORD_SUM) != record_sum(record):
        return None, f"{file.name} is not what was written (checksum)"
    return record, ""


def sealed(record: Mapping[str, Any]) -> str:
    """A record as it is written down, with its own checksum."""
    content = json.loads(record_text(record))  # as it will be read: tuples as lists, keys as text
    return record_text({**content, RECORD_SUM: record_sum(content)}) + "\n"


def record_sum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(record_text(record).encode()).hexdigest()


def record_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 and not re.fullmatch(r"[0-9a-f]{20,}", text) else f"{text[:8]}…"

"""The record of a result: reading it, checking it and writing it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt
from typing_extensions import TypedDict  # that of typing is one pydantic takes from Python 3.12 on

from stc.errors import InputError
from stc.store.identity import Spec, identity_of
from stc.system.read_files import read_json, validate_shape

RECORD_SUM = "record_sha256"
"""The key of a record's own checksum, which covers all other keys."""


def _check_inside(name: str) -> str:
    if re.search(r"(^|/)\.{0,2}(/|$)", name):
        raise ValueError("must be the name of a file in the folder")
    return name


FileName = Annotated[str, AfterValidator(_check_inside)]
"""The name of a file within a folder."""


class FileEntry(TypedDict):
    """The entry of a file in a record."""

    bytes: NonNegativeInt
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


FileEntries = dict[FileName, FileEntry]
"""The files of a folder, by their names in it."""


class Record(TypedDict):
    """The shape of a record. All have ``files`` and ``facts``; those of a store also identity, kind and spec."""

    files: FileEntries
    facts: dict[str, Any]
    kind: NotRequired[str]
    identity: NotRequired[str]
    spec: NotRequired[Spec]
    name: NotRequired[str]
    curves: NotRequired[dict[str, list[Annotated[list[float], Field(min_length=2, max_length=2)]]]]
    seconds: NotRequired[NonNegativeFloat]
    versions: NotRequired[dict[str, str]]
    commit: NotRequired[tuple[str, bool] | None]
    command: NotRequired[list[str]]
    evicted: NotRequired[str]
    intermediate: NotRequired[bool]  # a run that keeps only final models may evict it


def read_record(file: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the record in a file, or None and what is wrong with it.

    Raises:
        InputError: the file is there and may not be read.
    """
    try:
        record: dict[str, Any] = read_json(file, dict[str, Any])
        if RECORD_SUM not in record:
            return None, f"{file.name} is not a record: {RECORD_SUM} is missing"
        if record.pop(RECORD_SUM) != record_checksum(record):
            return None, f"{file.name} is not what was written (checksum)"
        validate_shape(record, str(file), Record)
    except FileNotFoundError:
        return None, f"{file.name} is missing"
    except InputError as error:
        if not os.access(file, os.R_OK):
            raise
        return None, str(error).replace(str(file), file.name, 1)
    return record, ""


def read_store_record(file: Path, kind: str, identity: str) -> tuple[dict[str, Any] | None, str]:
    """Return the record of a result of a store, or None and what is wrong with it; raises as :func:`read_record`.

    A record is wrong if it belongs to another result, or if its identity is not that of its own spec.
    """
    record, fault = read_record(file)
    if record is None:
        return None, fault
    found = record.get("kind"), record.get("identity")
    if found != (kind, identity):
        return None, f"{file.name} is that of another result ({' '.join(map(str, found))})"
    try:
        known = identity_of(record["spec"])
    except (KeyError, TypeError):
        known = ""
    if known != identity:
        return None, f"{file.name} does not say what has this identity"
    return record, ""


def serialize_record(record: Mapping[str, Any]) -> str:
    """Return the text of a record, with its own checksum."""
    content = json.loads(record_text(record))  # as it will be read: tuples as lists, keys as text
    return record_text({**content, RECORD_SUM: record_checksum(content)}) + "\n"


def record_checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(record_text(record).encode()).hexdigest()


def record_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}

"""Folders from outside a store, as artifacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Artifact, Kind
from stc.store.files import list_files
from stc.store.identity import identity_of, is_identity
from stc.store.records import read_record


def artifact_of_folder(store: Store, kind: Kind, folder: Path) -> Artifact:
    """Return a folder from outside as an artifact, identified by the content of its files.

    Raises:
        InputError: it is not a folder, or its record is damaged, differs from a file, or belongs to another result
            than the folder's name says or to another kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder (a {kind.value} is expected there)")
    facts: dict[str, Any] = {}
    if os.path.lexists(folder / RECORD_FILE):
        record, fault = read_record(folder / RECORD_FILE)
        if record is not None:
            fault = _contradiction(folder, kind, record) or store.file_fault(folder, record["files"])
            facts = record["facts"]
        if fault:
            raise InputError(f"{folder} is damaged: {fault}")
    # Every file counts: which ones transformers reads (tokenizer, templates, processor) depends on its version and
    # on the other files, and a list of ours that misses one would call two different models the same.
    digests = {name: store.sha256(folder / name) for name in list_files(folder)}
    store.save_hashes()
    return Artifact(kind, folder, identity_of({"external": kind.value, "files": digests}), facts)


def _contradiction(folder: Path, kind: Kind, record: Mapping[str, Any]) -> str:
    """Return in what the record of a folder from outside contradicts its name or the kind; empty if in nothing."""
    if record.get("kind", kind) != kind:
        return f"its record is that of a {record['kind']}; expected there: {kind.value}"
    if is_identity(folder.name) and record.get("identity", folder.name) != folder.name:
        return f"its record is that of another result ({record['identity']})"
    return ""

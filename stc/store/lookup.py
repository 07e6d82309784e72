"""Finds the folder of a result that a user names by a path or by the first digits of its identity."""

from __future__ import annotations

import re
from pathlib import Path

from stc.errors import InputError
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.inventory import Inventory, normalize_prefix
from stc.store.location import is_store

DEFAULT_STORE = Path("store")
"""The store that digits without a folder refer to."""
_DIGITS = re.compile(r"[0-9a-f]{4,20}")
_KINDS = frozenset(kind.value for kind in Kind)


def resolve_artifact(given: Path, *kinds: Kind) -> Path:
    """Return the folder that ``given`` means: the path itself if it exists or is no identity.

    ``3f2a91c0`` is searched in the store ``store``; ``st/3f2a91c0`` and ``st/model/3f2a91c0`` in the store ``st``.

    Raises:
        InputError: no result begins with these digits, or several do, or it has another kind or was evicted.
    """
    if given.exists() or not _DIGITS.fullmatch(normalize_prefix(given.name)):
        return given
    parent = given.parent
    root = parent.parent if parent.name in _KINDS else DEFAULT_STORE if parent == Path() else parent
    if not root.is_dir() or not is_store(root):
        return given
    entry = Inventory(Store(root)).find(given.name)
    if entry.kind not in kinds:
        wanted = " or ".join(kind.value for kind in kinds)
        raise InputError(f"{given} is no {wanted}: it is {entry.label}")
    if entry.evicted:
        raise InputError(f"{given}: {entry.label} was evicted on {entry.evicted}; a run that needs it makes it anew")
    return entry.folder

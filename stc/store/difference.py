"""In what a result that is missing differs from those that are in the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stc.store import Store
from stc.store.artifact import Kind
from stc.store.records import flatten


def explain_missing(store: Store, kind: Kind, spec: Mapping[str, Any]) -> str:
    """Return in which fields the nearest artifact of the same stage differs from ``spec``."""
    wanted = flatten(spec)
    differences = []
    for identity in store.identities(kind):
        record = store.record(kind, identity)
        found = flatten(record["spec"]) if record else {}
        if found.get("stage") == wanted.get("stage"):
            keys = [key for key in sorted(found.keys() | wanted.keys()) if found.get(key) != wanted.get(key)]
            differences.append([f"{key} {_text(found, key)} → {_text(wanted, key)}" for key in keys])
    if not differences:
        return "first of its kind"
    nearest = min(differences, key=len)
    return "differs from the nearest in " + ", ".join(nearest[:4]) + (" …" if len(nearest) > 4 else "")


def _text(values: Mapping[str, Any], key: str) -> str:
    text = str(values.get(key, "absent"))
    return text if len(text) <= 24 and not re.fullmatch(r"[0-9a-f]{20,}", text) else f"{text[:8]}…"

"""A store with results in it, for what looks at stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc.store import Store, identity_of
from stc.store.__main__ import main
from stc.store.artifact import Kind
from stc.store.inventory import Inventory

SIZES = {"teacher": 4000, "cut": 3000, "packed": 1000}


def filled(root: Path) -> Store:
    """A data set, a teacher made of it in 50 s, a ranking, the pruned teacher, and the packed one with its scores."""
    store = Store(root)
    train = put(store, Kind.MANIFEST, "train", {}, 500)
    teacher = put(store, Kind.MODEL, "teacher", {"train": train}, SIZES["teacher"], seconds=50)
    removed = {"layers_removed": [3]}
    put(store, Kind.RANKING, "search", {"model": teacher}, 10, facts=removed)
    cut = put(store, Kind.MODEL, "cut", {"model": teacher, "ranking": removed}, SIZES["cut"], facts=removed)
    packed = put(store, Kind.MODEL, "packed", {"model": cut}, SIZES["packed"])
    put(store, Kind.LOGITS, "logits", {"model": teacher}, 700)
    put(store, Kind.SCORES, "scores", {"model": packed, "data": train}, 20)
    return store


def spec_of(name: str, inputs: Mapping[str, Any] | None = None, width: int = 7) -> dict[str, Any]:
    return {
        "stage": name,
        "version": 1,
        "config": {"width": width},
        "surroundings": {},
        "inputs": dict(inputs or {}),
    }


def put(
    store: Store,
    kind: Kind,
    name: str,
    inputs: Mapping[str, Any],
    size: int,
    *,
    seconds: float = 1.0,
    facts: Mapping[str, Any] | None = None,
) -> str:
    spec = spec_of(name, inputs)
    identity = identity_of(spec)
    with store.publish(kind, identity) as (folder, record):
        (folder / "file").write_bytes(os.urandom(size))
        record.update(name=name, spec=spec, facts=dict(facts or {}), curves={},
                      seconds=seconds, versions={"stc": "1"}, commit=["abc", False],
                      command=["/x/stc/run.py", "++lang=de"])  # fmt: skip
    return identity


def ids(store: Store) -> dict[str, str]:
    """Name → identity."""
    return {entry.name: entry.identity for entry in Inventory(store).entries}


def ran(store: Store, *arguments: str) -> int:
    """``python -m stc.store``."""
    return main(["--store", str(store.root), *arguments])

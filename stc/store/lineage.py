"""The history of a model, by the records of its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stc.store import Store
from stc.store.artifact import Kind
from stc.store.identity import is_identity
from stc.store.location import is_store
from stc.system.language_tags import primary_language


def record_chain(store: Store, kind: Kind, identity: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a model or adapter and of the models it was made from, as far as the store has them."""
    record = store.record(kind, identity)
    while record is not None:
        yield record
        inputs = record["spec"]["inputs"]
        record = store.record(Kind.MODEL, inputs["model"]) if isinstance(inputs.get("model"), str) else None


def target_languages(folder: Path) -> dict[str, str]:
    """Return the languages that a model of a store was last trained to translate into, code → English name; empty if
    they are not known."""
    folder = folder.resolve()
    place = folder.parent.parent
    if folder.parent.name != Kind.MODEL.value or not is_identity(folder.name) or not is_store(place):
        return {}
    store = Store(place)
    for record in record_chain(store, Kind.MODEL, folder.name):
        data = [identity for name, identity in record["spec"]["inputs"].items() if name.split(".")[0] == "train"]
        if data:
            return dict(language for identity in data for language in _languages(store, identity))
    return {}


def language_mismatch(folder: Path, lang: str) -> str:
    """Return a warning if a model was trained to translate into other languages than ``lang``.

    Variants of a language count as one. The text is empty if the model fits, or nothing is known of it.
    """
    trained = target_languages(folder)
    if not trained or _language(lang) in map(_language, trained):
        return ""
    return f"{folder} was trained to translate into {', '.join(sorted(trained))}, not into {lang}"


def _language(tag: str) -> str:
    """Return the language of a tag. Old records may have text that is no tag; it stands for itself."""
    try:
        return primary_language(tag)
    except ValueError:
        return tag


def _languages(store: Store, identity: object) -> Iterator[tuple[str, str]]:
    """Yield code and name of the languages of a manifest's references, by its record or the records of its inputs."""
    record = store.record(Kind.MANIFEST, identity) if isinstance(identity, str) else None
    if record is None:
        return
    config: Mapping[str, Any] = record["spec"]["config"]
    task = config.get("task") or config
    if language := task.get("target_lang"):
        yield str(language), str(task.get("target_name", language))
        return
    for one in record["spec"]["inputs"].values():
        for identity in one.values() if isinstance(one, Mapping) else [one]:
            yield from _languages(store, identity)

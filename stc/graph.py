"""From the ``stages`` of a config to the nodes of a pipeline: stand-ins, copies and chains written out.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stc.errors import ConfigError, Fault, nearest, validation_faults
from stc.pipeline import Hub, Node
from stc.stage import Kind
from stc.stages import stage_class

WIRING_KEYS = ("stage", "inputs", "labels", "settings", "from", "like", "chain", "kind")
"""Keys of an entry that say where it stands in the graph, or where its fields are; every other one is a field."""

Entry = Mapping[str, Any]


def nodes(entries: Mapping[str, Entry]) -> dict[str, Node]:
    """The stages of a config as nodes, by name.

    Args:
        entries: name → entry, resolved: plain values.

    Raises:
        ConfigError: with every fault of every entry.
    """
    faults: list[Fault] = []
    filled: dict[str, Entry] = {}
    for name, entry in entries.items():
        try:
            filled[name] = _filled(name, entry, entries)
        except ConfigError as error:
            faults += error.faults
    last = {name: f"{name}.{entry['chain']}" if "chain" in entry else name for name, entry in filled.items()}
    found: dict[str, Node] = {}
    for name, entry in filled.items():
        try:
            found |= {node.name: node for node in _laid_out(name, entry, last)}
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return found


def links(given: str, graph: Mapping[str, Node]) -> list[str]:
    """The nodes that ``given`` names: one, or all the links of a chain."""
    return [name for name in graph if name == given or name.startswith(f"{given}.")]


def _filled(name: str, entry: Entry, entries: Mapping[str, Entry]) -> Entry:
    """``like: heal`` takes everything of ``heal`` that the entry does not say itself: a control stays a control
    however ``heal`` is overridden."""
    if "like" not in entry:
        return entry
    model = str(entry["like"])
    if model not in entries or "like" in entries[model]:
        raise ConfigError(
            [Fault(f"stages.{name}.like", model, f"a stage of its own is needed{nearest(model, entries)}")]
        )
    return {**entries[model], **{key: value for key, value in entry.items() if key != "like"}}


def _laid_out(name: str, entry: Entry, last: Mapping[str, str]) -> list[Node]:
    """An entry as the folder that stands in for it, as one node, or as a chain of them.

    Args:
        last: name of an entry → the node others mean by it, which of a chain is the last link.
    """
    cls = stage_class(str(entry["stage"])) if "stage" in entry else None
    kind = entry.get("kind") if cls is None else cls.GIVES
    if entry.get("from") and kind in list(Kind):
        return [
            Node(
                last[name],
                Kind(kind),
                str(entry.get("stage", "from")),
                source=_source(str(entry["from"]), f"stages.{name}.from"),
            )
        ]
    if cls is None:
        raise ConfigError([Fault(f"stages.{name}", dict(entry), "a stage, or a folder (from) and its kind, is needed")])
    settings = entry.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise ConfigError([Fault(f"stages.{name}.settings", settings, "a mapping from field to value is needed")])
    own = {key: value for key, value in entry.items() if key not in WIRING_KEYS}
    try:
        stage = cls(**_over(settings, own))
    except ValidationError as error:
        raise ConfigError(validation_faults(error, cls, f"stages.{name}")) from None
    wiring = entry.get("inputs") or {}
    if not isinstance(wiring, Mapping):
        raise ConfigError([Fault(f"stages.{name}.inputs", wiring, "a mapping from input to stage is needed")])
    given = {key: target for key, target in wiring.items() if target is not None}  # null: an input that is not there
    labelled = _labelled(name, given, entry.get("labels"))
    inputs = {key: _ends(target, last) for key, target in labelled.items()}
    if "chain" not in entry:
        return [Node(name, cls.GIVES, entry["stage"], stage, inputs)]
    length = entry["chain"]
    if not isinstance(length, int) or length < 1:
        raise ConfigError([Fault(f"stages.{name}.chain", length, "must be a number of links, at least 1")])
    fed = [inputs, *({**inputs, "previous": f"{name}.{link}"} for link in range(1, length))]
    return [
        Node(f"{name}.{link}", cls.GIVES, entry["stage"], stage, inputs) for link, inputs in enumerate(fed, start=1)
    ]


def _over(settings: Entry, own: Entry) -> dict[str, Any]:
    """``settings`` with the entry's ``own`` fields over them; of a mapping (``lora``), each of its keys."""
    merged = dict(settings)
    for key, value in own.items():
        below = settings.get(key)
        merged[key] = {**below, **value} if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _labelled(name: str, wiring: Mapping[str, Any], labels: Any) -> dict[str, Any]:
    """The inputs of an entry with every list of stages as a mapping, its keys the entry's ``labels`` in order: a key
    of a mapping cannot follow the rest of the config (``${…}``), an item of a list can."""
    lists = {key: targets for key, targets in wiring.items() if isinstance(targets, list)}
    if not lists:
        return dict(wiring)
    if not isinstance(labels, list) or len(set(map(str, labels))) < len(labels):
        raise ConfigError([Fault(f"stages.{name}.labels", labels, "a list of labels is needed, each once")])
    faults = [
        Fault(f"stages.{name}.inputs.{key}", targets, f"{len(labels)} stages are needed, one for each of the labels")
        for key, targets in lists.items()
        if len(targets) != len(labels)
    ]
    if faults:
        raise ConfigError(faults)
    return {**wiring, **{key: dict(zip(map(str, labels), targets, strict=True)) for key, targets in lists.items()}}


def _ends(target: Any, last: Mapping[str, str]) -> Any:
    """Where an input comes from, a chain standing for its last link."""
    if isinstance(target, Mapping):
        return {str(label): last.get(str(one), str(one)) for label, one in target.items()}
    return last.get(str(target), str(target))


def _source(path: str, key: str) -> Path | Hub:
    folder = Path(path)
    if folder.is_dir():
        return folder.resolve()
    if path.count("/") != 1 or path.startswith((".", "/", "~")):
        raise ConfigError([Fault(key, path, "no such folder")])
    return Hub(path)

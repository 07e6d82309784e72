"""Make the nodes of a pipeline from the ``stages`` of a config: folders, copies and chains.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stc.errors import ConfigError, Fault, suggestion, validate_model
from stc.models.hub import model_source
from stc.pipeline.graph import Node
from stc.pipeline.stage import Stage
from stc.pipeline.stage_by_name import stage_class
from stc.store.artifact import Kind

WIRING_KEYS = ("stage", "inputs", "then", "labels", "settings", "from", "like", "chain", "every", "kind")
"""Keys of an entry that say where it stands in the graph or where its fields are. Every other key is a field."""

Entry = Mapping[str, Any]


def build_nodes(entries: Mapping[str, Entry]) -> tuple[dict[str, Node], list[Fault]]:
    """Return the nodes of all entries, and every fault.

    A faulty entry whose kind is known also gives nodes, without a stage, so that the inputs of others can be checked.
    """
    faults: list[Fault] = []
    complete: dict[str, Entry] = {}
    chains: dict[str, Chain] = {}
    found: dict[str, Node] = {}
    for name, entry in entries.items():
        try:
            complete[name] = _with_copied_keys(name, entry, entries)
        except ConfigError as error:
            faults += error.faults
    for name, entry in complete.items():
        try:
            if "chain" in entry:
                chains[name] = _chain(name, entry)
        except ConfigError as error:
            faults += error.faults
            chains[name] = Chain(name, (1,), entry.get("from") is None)
    for name, entry in complete.items():
        try:
            cls = _class(name, entry, entries)
        except ConfigError as error:
            faults += error.faults
            continue
        try:
            found |= {node.name: node for node in _build_entry(name, entry, cls, chains)}
        except ConfigError as error:
            faults += error.faults
            if kind := _kind(entry, cls):
                steps = len(chains[name].steps) if name in chains else 0
                names = [f"{name}.{number}" for number in range(1, steps + 1)] or [name]
                found |= {one: Node(one, kind, str(entry.get("stage", "from"))) for one in names}
    return found, faults


def nodes_named(given: str, graph: Mapping[str, Node]) -> list[str]:
    """Return the nodes that ``given`` means: one, or all the links of a chain."""
    return [name for name in graph if name == given or name.startswith(f"{given}.")]


def _with_copied_keys(name: str, entry: Entry, entries: Mapping[str, Entry]) -> Entry:
    """Add the keys of the entry that ``like`` names, except those that this one has itself."""
    if "like" not in entry:
        return entry
    model = str(entry["like"])
    if model not in entries or "like" in entries[model]:
        raise ConfigError(
            [Fault(f"stages.{name}.like", model, f"a stage of its own is needed{suggestion(model, entries)}")]
        )
    return {**entries[model], **{key: value for key, value in entry.items() if key != "like"}}


@dataclass(frozen=True)
class Chain:
    """A chain: one stage several times in a row, each link fed by the one before.

    Attributes:
        steps: the step of each link. A chain of N has N steps, and a link after ``every`` so many and at the last.
        has_links: False if a folder is in the place of the chain.
    """

    name: str
    steps: tuple[int, ...]
    has_links: bool

    @property
    def last(self) -> str:
        return f"{self.name}.{len(self.steps)}"

    def link(self, step: int) -> str | None:
        """Return the latest link at ``step`` or before, if there is one."""
        if not self.has_links:
            return self.last
        count = sum(1 for one in self.steps if one <= step)
        return f"{self.name}.{count}" if count else None


def _chain(name: str, entry: Entry) -> Chain:
    length, every = entry["chain"], entry.get("every", 1)
    for key, value in (("chain", length), ("every", every)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError([Fault(f"stages.{name}.{key}", value, "must be a number of links, at least 1")])
    return Chain(name, (*range(every, length, every), length), entry.get("from") is None)


def _class(name: str, entry: Entry, entries: Mapping[str, Entry]) -> type[Stage] | None:
    """Return the stage of an entry; None for a folder with its kind. Raises ConfigError if the entry is neither."""
    if "stage" not in entry:
        if entry.get("from") is not None and _kind(entry, None):
            return None
        known = [other for other, one in entries.items() if other != name and ("stage" in one or "like" in one)]
        key, value = _first_leaf(f"stages.{name}", entry)
        allowed = "a stage, or a folder (from) and its kind, is needed"
        if "kind" not in entry:
            allowed = f"there is no stage {name}{suggestion(name, known)}; of a new one {allowed}"
        raise ConfigError([Fault(key, value, allowed)])
    try:
        return stage_class(str(entry["stage"]))
    except ConfigError as error:
        raise ConfigError([fault.below(f"stages.{name}") for fault in error.faults]) from None


def _kind(entry: Entry, cls: type[Stage] | None) -> Kind | None:
    """Return the kind of an entry's result, if it is known."""
    given = entry.get("kind") if cls is None else cls.GIVES
    return Kind(given) if given in list(Kind) else None


def _first_leaf(key: str, value: Any) -> tuple[str, Any]:
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    return key, value


def _build_entry(name: str, entry: Entry, cls: type[Stage] | None, chains: Mapping[str, Chain]) -> list[Node]:
    """Return the node of an entry: a folder, one stage, or the links of a chain."""
    if entry.get("from") is not None or cls is None:
        kind = _kind(entry, cls)
        assert kind is not None  # otherwise it has no class
        source = model_source(str(entry["from"]), f"stages.{name}.from", kind)
        node_name = chains[name].last if name in chains else name
        return [Node(node_name, kind, str(entry.get("stage", "from")), source=source)]
    settings = entry.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise ConfigError([Fault(f"stages.{name}.settings", settings, "a mapping from field to value is needed")])
    own = {key: value for key, value in entry.items() if key not in WIRING_KEYS}
    stage = validate_model(cls, _merged(settings, own), f"stages.{name}")
    wiring, then = entry.get("inputs") or {}, entry.get("then") or {}
    for key, value in (("inputs", wiring), ("then", then)):
        if not isinstance(value, Mapping):
            raise ConfigError([Fault(f"stages.{name}.{key}", value, "a mapping from input to stage is needed")])
    given = {key: target for key, target in wiring.items() if target is not None}  # null: no such input
    unused = set(stage.unused_inputs(given))
    given, then = ({key: target for key, target in one.items() if key not in unused} for one in (given, then))
    labelled = _with_labels(name, given, entry.get("labels"))
    stage_name = cls.NAME or entry["stage"]
    if name not in chains:
        inputs = {key: _resolve_chains(target, chains) for key, target in labelled.items()}
        return [Node(name, cls.GIVES, stage_name, stage, inputs)]
    links = []
    for number, step in enumerate(chains[name].steps, start=1):
        inputs = {key: _resolve_chains(target, chains, step) for key, target in labelled.items()}
        if "previous" in cls.TAKES and number > 1:
            inputs["previous"] = _resolve_chains(name, chains, step - 1)
        earlier = {key: target and _resolve_chains(target, chains, step - 1) for key, target in then.items()}
        if any(earlier.values()):
            left_out = [key for key, target in then.items() if target is None]
            inputs = {key: target for key, target in inputs.items() if key not in left_out}
        inputs |= {key: target for key, target in earlier.items() if target is not None}
        links.append(Node(f"{name}.{number}", cls.GIVES, stage_name, stage, inputs))
    return links


def _merged(settings: Entry, own: Entry) -> dict[str, Any]:
    """Return ``settings`` overridden by an entry's ``own`` fields; of a mapping (``lora``), by each of its keys."""
    merged = dict(settings)
    for key, value in own.items():
        below = settings.get(key)
        merged[key] = {**below, **value} if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _with_labels(name: str, wiring: Mapping[str, Any], labels: Any) -> dict[str, Any]:
    """Return the inputs with every list of stages as a mapping, whose keys are the entry's ``labels`` in order.

    Items of a list can be interpolated (``${…}``), keys of a mapping cannot.
    """
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


def _resolve_chains(target: Any, chains: Mapping[str, Chain], step: int | None = None) -> Any:
    """Return where an input comes from. A chain means its last link; at a ``step`` of another chain, its latest link by
    then, or None."""
    if isinstance(target, Mapping):
        return {str(label): _resolve_chains(one, chains, step) for label, one in target.items()}
    if (chain := chains.get(str(target))) is None:
        return str(target)
    return chain.last if step is None else chain.link(step)

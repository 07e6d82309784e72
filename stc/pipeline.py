"""A graph of named stages, evaluated backward from what is asked for. Knows nothing of models.

identity = hash of (stage, VERSION, its fields, what its surroundings add, the identities of its inputs). A result
that is in the store is taken without looking at what it was made from, so evaluation starts at the outputs and
goes only as deep as something is missing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stc.curves import Curves, journaled, read_journal
from stc.errors import ConfigError, Fault, InputError, nearest
from stc.machine import git_commit, versions
from stc.stage import Artifact, Context, Inputs, Kind, Stage
from stc.store import Store, identity_of

Wiring = str | Mapping[str, str]

_MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class Hub:
    """A model of the Hugging Face hub in the place of a folder. ``id`` is ``owner/name``."""

    id: str

    def fetch(self) -> Path:
        """The folder of its files in the local cache, downloaded where they are not there yet."""
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.id, allow_patterns=_MODEL_FILES))

    def cached(self) -> Path | None:
        """The folder of its files in the local cache, or None where they are not all there."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.id, allow_patterns=_MODEL_FILES, local_files_only=True))
        except LocalEntryNotFoundError:
            return None


@dataclass(frozen=True)
class Node:
    """A stage under a name, or what stands in for it (``source``): a folder on this machine or on the hub."""

    name: str
    kind: Kind
    stage_name: str
    stage: Stage | None = None
    inputs: Mapping[str, Wiring] = field(default_factory=dict)
    source: Path | Hub | None = None

    def upstream(self) -> Iterator[tuple[str, str]]:
        """(key of the input, name of the node it comes from), labels spelled ``scores.teacher``."""
        for name, wiring in self.inputs.items():
            if isinstance(wiring, str):
                yield name, wiring
            else:
                yield from ((f"{name}.{label}", target) for label, target in wiring.items())


@dataclass(frozen=True)
class Done:
    """What became of a node in this run. ``seconds`` is what making it took and ``curves`` what it logged on the way,
    whenever that was."""

    name: str
    artifact: Artifact
    cached: bool
    seconds: float
    curves: Curves = field(default_factory=dict)


class Pipeline:
    """Nodes that fit together: every input exists, has the kind its consumer takes, and nothing is circular.

    Raises:
        ConfigError: naming every consumer whose inputs do not fit.
    """

    def __init__(self, nodes: Mapping[str, Node], outputs: Sequence[str]) -> None:
        self.nodes = dict(nodes)
        self.outputs = list(outputs)
        faults = [fault for node in self.nodes.values() for fault in self._unfit(node)]
        for name in self.outputs:
            if name not in self.nodes:
                faults.append(Fault("pipeline.outputs", name, f"no such stage{nearest(name, self.nodes)}"))
        if not faults:
            faults += self._cycles()
        if faults:
            raise ConfigError(faults)

    def _unfit(self, node: Node) -> Iterator[Fault]:
        if node.stage is None:
            return
        takes = type(node.stage).TAKES
        where = f"stages.{node.name}.inputs"
        for name in takes.keys() - node.inputs.keys():
            if not takes[name].optional:
                yield Fault(f"{where}.{name}", None, f"stage {node.stage_name} needs a {takes[name].kind.value} here")
        for name, wiring in node.inputs.items():
            if name not in takes:
                allowed = f"{node.stage_name} takes {', '.join(takes)}{nearest(name, takes)}"
                yield Fault(f"{where}.{name}", wiring, allowed)
            elif takes[name].many == isinstance(wiring, str):
                form = "a mapping from label to stage" if takes[name].many else "the name of a stage"
                yield Fault(f"{where}.{name}", wiring, f"{form} is needed")
        for name, why in node.stage.unfit(node.inputs.keys()):
            yield Fault(f"{where}.{name}", node.inputs.get(name), why)
        for key, target in node.upstream():
            wanted = takes.get(key.split(".")[0])
            if target not in self.nodes:
                yield Fault(f"{where}.{key}", target, f"no such stage{nearest(target, self.nodes)}")
            elif wanted and self.nodes[target].kind is not wanted.kind:
                yield Fault(
                    f"{where}.{key}", target, f"gives a {self.nodes[target].kind.value}, not a {wanted.kind.value}"
                )

    def _cycles(self) -> list[Fault]:
        finished: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> list[Fault]:
            if name in path:
                circle = " → ".join((*path[path.index(name) :], name))
                return [Fault(f"stages.{name}.inputs", circle, "a stage cannot need its own result")]
            if name in finished:
                return []
            found = [f for _, target in self.nodes[name].upstream() for f in visit(target, (*path, name))]
            finished.add(name)
            return found

        return [fault for name in self.nodes for fault in visit(name, ())]

    def needed(self) -> list[str]:
        """The nodes the outputs rest on, each after what it needs."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in order:
                for _, target in self.nodes[name].upstream():
                    visit(target)
                order[name] = None

        for name in self.outputs:
            visit(name)
        return list(order)


class Evaluation:
    """One evaluation of a pipeline against a store.

    Args:
        context: makes the context of a node from its scratch folder.
        force: nodes to make anew; what is made from them follows.
        say: hears one line about every node that is about to run, and why.
        ready: asked before a stage runs on its inputs; raises what stops it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        context: Callable[[str, Path], Context],
        *,
        force: Sequence[str] = (),
        say: Callable[[str], None] = lambda line: None,
        ready: Callable[[Node, Inputs], None] = lambda node, inputs: None,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._context = context
        self._force = frozenset(force)
        self._say = say
        self._ready = ready
        self._keys: dict[str, tuple[str, str, int, dict[str, Any]]] = {}
        self.done: dict[str, Done] = {}

    def run(self, finished: Callable[[Done], None] = lambda done: None) -> list[Done]:
        """Bring every output about; returns what became of each node needed, in order."""
        self._finished = finished
        for name in self._pipeline.outputs:
            self._bring(name)
        return [self._status(name) for name in self._pipeline.needed()]

    def artifact(self, name: str) -> Artifact:
        """Where the artifact of a node is, without making or reading it."""
        return self._status(name).artifact

    def _status(self, name: str) -> Done:
        if name in self.done:
            return self.done[name]
        node = self._pipeline.nodes[name]
        if node.source is not None:
            return self._bring(name)
        identity = self._key(name)[0]
        record = self._store.record(node.kind, identity) or {}
        found = Artifact(node.kind, self._store.path(node.kind, identity), identity, record.get("facts", {}))
        return Done(name, found, True, record.get("seconds", 0.0), record.get("curves", {}))

    def _key(self, name: str) -> tuple[str, str, int, dict[str, Any]]:
        """(identity, identity of generation 0, generation, spec) of a node with a stage."""
        if name not in self._keys:
            node = self._pipeline.nodes[name]
            stage = node.stage
            assert stage is not None
            spec: dict[str, Any] = {
                "stage": node.stage_name,
                "version": stage.VERSION,
                "config": stage.model_dump(mode="json", exclude=set(stage.NOT_IDENTITY)),
                "surroundings": dict(self._surroundings(node)),
                "inputs": {key: self._input_identity(node, key, target) for key, target in node.upstream()},
            }
            first = identity_of(spec)
            generation = self._store.generation(first) + (name in self._force)
            if generation:
                spec["generation"] = generation
            self._keys[name] = (identity_of(spec), first, generation, spec)
        return self._keys[name]

    def _surroundings(self, node: Node) -> Mapping[str, Any]:
        assert node.stage is not None
        return node.stage.surroundings(self._context(node.name, self._store.root))

    def _input_identity(self, node: Node, key: str, target: str) -> Any:
        assert node.stage is not None
        by = type(node.stage).TAKES[key.split(".")[0]].by
        if by:
            found = self._bring(target).artifact
            if missing := [fact for fact in by if fact not in found.facts]:
                raise InputError(
                    f"stages.{node.name}.inputs.{key}: the record of {found.path} does not say {', '.join(missing)}: "
                    f"a {found.kind.value} that stc made is needed"
                )
            return {fact: found.facts[fact] for fact in by}
        if self._pipeline.nodes[target].source is not None:
            return self._bring(target).artifact.identity
        return self._key(target)[0]

    def _bring(self, name: str) -> Done:
        if name not in self.done:
            node = self._pipeline.nodes[name]
            if node.source is not None:
                folder = node.source.fetch() if isinstance(node.source, Hub) else node.source
                self.done[name] = Done(name, self._store.external(node.kind, folder), True, 0.0)
            else:
                self.done[name] = self._make(node)
            self._finished(self.done[name])
        return self.done[name]

    def _make(self, node: Node) -> Done:
        identity, first, generation, spec = self._key(node.name)
        found, why = self._store.get(node.kind, identity)
        if found is not None:
            if node.name in self._force:  # made by a run that died before it could say so
                self._store.set_generation(first, generation)
            record = self._store.record(node.kind, identity) or {}
            return Done(node.name, found, True, record["seconds"], record.get("curves", {}))
        assert node.stage is not None
        inputs = {
            name: self._bring(wiring).artifact
            if isinstance(wiring, str)
            else {label: self._bring(target).artifact for label, target in wiring.items()}
            for name, wiring in node.inputs.items()
        }
        if why == "not in the store":
            why = "forced" if node.name in self._force else self._store.why_missing(node.kind, spec)
        self._say(f"{node.name} ({node.stage_name} {identity[:8]}): {why}")
        self._ready(node, inputs)
        started = time.monotonic()
        with self._store.publish(node.kind, identity) as (folder, record):
            context = journaled(self._context(node.name, self._store.scratch(identity)))
            facts = dict(node.stage.run(inputs, folder, context))
            seconds = round(time.monotonic() - started, 2)
            curves = read_journal(context.scratch)
            record.update(
                name=node.name,
                kind=node.kind.value,
                identity=identity,
                spec=spec,
                facts=facts,
                curves=curves,
                seconds=seconds,
                versions=versions(),
                commit=git_commit(),
                command=sys.argv,
            )
        if generation:
            self._store.set_generation(first, generation)
        made = Artifact(node.kind, self._store.path(node.kind, identity), identity, facts)
        return Done(node.name, made, False, seconds, curves)

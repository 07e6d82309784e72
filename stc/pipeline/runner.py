"""A graph of stages, evaluated backward from what is asked for.

identity = hash of (stage, VERSION, its fields, its environment, the identities of its inputs). A result
that is in the store is taken without looking at what it was made from, so evaluation starts at the outputs and
goes only as deep as something is missing.

What another process is making is left to it: evaluation goes on with whatever else is needed, goes through the
outputs again, and waits only when a whole round had nothing to do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.models import read_config
from stc.models.folder import ModelFolder
from stc.models.hub import HubModel
from stc.pipeline import model_cache
from stc.pipeline.curves import Curves, read_journal, with_journal
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.stage import Context, Inputs
from stc.store import ABSENT, MadeElsewhere, Store, identity_of
from stc.store.artifact import Artifact, Kind
from stc.store.difference import explain_missing
from stc.store.external import artifact_of_folder
from stc.system.machine import git_commit, versions

_POLL_SECONDS = 2.0  # between two looks at what another process is making, at most; the first looks come sooner


@dataclass(frozen=True)
class NodeResult:
    """What became of a node in this run. ``seconds`` is what making it took and ``curves`` what it logged on the way,
    whenever that was."""

    name: str
    artifact: Artifact
    cached: bool
    seconds: float
    curves: Curves = field(default_factory=dict)


class Evaluation:
    """One evaluation of a pipeline against a store.

    Args:
        context: makes the context of a node from its scratch folder.
        force: nodes to make anew; what is made from them follows. Of several processes that are at it at once, one
            makes each anew and the others use that; who begins after it is there makes one more.
        announce: hears one line about every node that is about to run, and why, and one about every node waited for.
        before_stage: asked before a stage runs on its inputs; raises what stops it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        context: Callable[[str, Path], Context],
        *,
        force: Sequence[str] = (),
        announce: Callable[[str], None] = lambda line: None,
        before_stage: Callable[[Node, Inputs], None] = lambda node, inputs: None,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._context = context
        self._force = frozenset(_alike(pipeline, force))
        self._announce = announce
        self._before_stage = before_stage
        self._keys: dict[str, tuple[str, str, int, dict[str, Any]]] = {}
        self._generations: dict[str, int] = {}
        self._blocked: set[str] = set()  # in this round: made elsewhere, or resting on what is
        self._elsewhere: dict[str, str] = {}  # in this round: node → the line to say if it has to be waited for
        self.done: dict[str, NodeResult] = {}

    def run(self, finished: Callable[[NodeResult], None] = lambda done: None) -> list[NodeResult]:
        """Bring every output about; returns what became of each node needed, in order."""
        self._finished = finished
        try:
            self._bring_all()
        finally:
            model_cache.clear()
        return [self._status(name) for name in self._pipeline.required_nodes()]

    def _bring_all(self) -> None:
        said: set[str] = set()
        pause = 0.0
        while not self._round():
            if self._progressed:
                pause = 0.0
                continue
            for line in [line for line in self._elsewhere.values() if line not in said]:
                self._announce(line)
                said.add(line)
            pause = min(_POLL_SECONDS, 1.5 * pause + 0.05)
            model_cache.clear()  # another process may need the memory for what this one waits for
            time.sleep(pause)

    def _round(self) -> bool:
        """Bring about what can be; whether that was everything."""
        before = len(self.done)
        self._blocked.clear()
        self._elsewhere.clear()
        for name in self._pipeline.outputs:
            try:
                self._bring(name)
            except _Blocked:
                if self._pipeline.nodes[name].kind is Kind.CHECK:
                    break  # it has to hold before anything is made that rests on it
        self._progressed = len(self.done) > before
        return not self._blocked

    def artifact(self, name: str) -> Artifact:
        """Where the artifact of a node is, without making or reading it."""
        return self._status(name).artifact

    def _status(self, name: str) -> NodeResult:
        if name in self.done:
            return self.done[name]
        node = self._pipeline.nodes[name]
        if node.source is not None:
            return self._bring(name)
        identity = self._key(name)[0]
        record = self._store.record(node.kind, identity) or {}
        found = Artifact(node.kind, self._store.path(node.kind, identity), identity, record.get("facts", {}))
        return NodeResult(name, found, True, record.get("seconds", 0.0), record.get("curves", {}))

    def _key(self, name: str) -> tuple[str, str, int, dict[str, Any]]:
        """(identity, identity of generation 0, generation, spec) of a node with a stage."""
        if name not in self._keys:
            node = self._pipeline.nodes[name]
            stage = node.stage
            assert stage is not None
            inputs = {key: self._input_identity(node, key, target) for key, target in node.upstream()}
            spec: dict[str, Any] = {
                "stage": node.stage_name,
                "version": stage.VERSION,
                "config": stage.model_dump(mode="json", exclude=set(stage.NOT_IDENTITY)),
                "surroundings": dict(self._environment(node)),
                "inputs": inputs,
            }
            first = identity_of(spec)
            # Once for all names of a result: as soon as it is made, the store counts one more.
            generation = self._generations.setdefault(first, self._store.generation(first) + (name in self._force))
            if generation:
                spec["generation"] = generation
            self._keys[name] = (identity_of(spec), first, generation, spec)
        return self._keys[name]

    def _environment(self, node: Node) -> Mapping[str, Any]:
        assert node.stage is not None
        return node.stage.environment(self._context(node.name, self._store.root))

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

    def _bring(self, name: str) -> NodeResult:
        """Raises _Blocked where it is made elsewhere, or rests on what is."""
        if name in self._blocked:
            raise _Blocked
        if name not in self.done:
            node = self._pipeline.nodes[name]
            if node.source is not None:
                folder = node.source.fetch(read_config) if isinstance(node.source, HubModel) else node.source
                self.done[name] = NodeResult(name, external_artifact(self._store, node.kind, folder), True, 0.0)
            else:
                try:
                    self.done[name] = self._find(node)
                except _Blocked:
                    self._blocked.add(name)
                    raise
            self._finished(self.done[name])
        return self.done[name]

    def _find(self, node: Node) -> NodeResult:
        try:
            identity, first, generation, spec = self._key(node.name)
        except _Blocked:  # by a fact that another process is finding out; what else it takes can be brought about
            self._inputs(node)
            raise
        found, why = self._store.get(node.kind, identity)
        if found is not None:
            if node.name in self._force:  # made by another, or by a run that died before it could say so
                self._store.set_generation(first, generation)
            record = self._store.record(node.kind, identity) or {}
            return NodeResult(node.name, found, True, record.get("seconds", 0.0), record.get("curves", {}))
        title = f"{node.name} ({node.stage_name} {identity[:8]})"
        holder = self._store.holder(identity)
        if holder is not None and holder.alive:
            self._elsewhere[node.name] = f"{title}: made by {holder.who}, waiting"
            raise _Blocked
        inputs = self._inputs(node)
        if holder is not None:
            why = f"taken over from {holder.who}, which no longer answers"
        elif why == ABSENT:
            why = "forced" if node.name in self._force else explain_missing(self._store, node.kind, spec)
        done = self._make(node, f"{title}: {why}", inputs)
        if generation:
            self._store.set_generation(first, generation)
        return done

    def _inputs(self, node: Node) -> dict[str, Any]:
        """What a node takes, all of it brought about as far as that can be done here."""
        blocked = False
        for _, target in node.upstream():
            try:
                self._bring(target)
            except _Blocked:
                blocked = True
        if blocked:
            raise _Blocked
        return {
            name: self.done[wiring].artifact
            if isinstance(wiring, str)
            else {label: self.done[target].artifact for label, target in wiring.items()}
            for name, wiring in node.inputs.items()
        }

    def _make(self, node: Node, line: str, inputs: Mapping[str, Any]) -> NodeResult:
        identity, _, _, spec = self._key(node.name)
        assert node.stage is not None
        self._before_stage(node, inputs)
        begun = False
        try:
            with self._store.publish(node.kind, identity) as (folder, record):
                begun = True
                self._announce(line)
                started = time.monotonic()
                context = with_journal(self._context(node.name, self._store.scratch(identity)))
                if not node.stage.KEEPS_MODEL:
                    model_cache.clear()
                facts = dict(node.stage.run(inputs, folder, context))
                seconds = round(time.monotonic() - started, 2)
                curves = read_journal(context.scratch)
                record.update(
                    name=node.name,
                    spec=spec,
                    facts=facts,
                    curves=curves,
                    seconds=seconds,
                    versions=versions(),
                    commit=git_commit(),
                    command=sys.argv,
                )
        except MadeElsewhere as elsewhere:
            if begun:
                self._announce(f"{node.name}: {elsewhere}, whose result is used")
            raise _Blocked from elsewhere
        made = Artifact(node.kind, self._store.path(node.kind, identity), identity, facts)
        return NodeResult(node.name, made, False, seconds, curves)


def external_artifact(store: Store, kind: Kind, folder: Path) -> Artifact:
    """A folder from outside as an artifact, identified by the content of its files. What a model's files mean is also
    up to its family and its quantizer, whose versions above 1 are part of the identity of all that is made with it.

    Raises:
        InputError: as :func:`stc.store.external.artifact_of_folder`.
        ModelError: a model's folder is damaged, or holds something else than a model.
    """
    versions = ModelFolder.of(folder).versions if kind is Kind.MODEL and folder.is_dir() else {}
    found = artifact_of_folder(store, kind, folder)
    if not versions:
        return found
    return replace(found, identity=identity_of({"external": found.identity, "versions": versions}))


def _alike(pipeline: Pipeline, names: Iterable[str]) -> set[str]:
    """Nodes, and whatever others have the same stage with the same fields and inputs: they stand for one result."""

    def description(name: str) -> tuple[Any, ...]:
        node = pipeline.nodes[name]
        if node.stage is None:
            return node.kind, str(node.source)
        fields = node.stage.model_dump_json(exclude=set(node.stage.NOT_IDENTITY))
        return node.stage_name, fields, tuple((key, description(target)) for key, target in sorted(node.upstream()))

    wanted = {description(name) for name in names}
    return {name for name in pipeline.nodes if wanted and description(name) in wanted}


class _Blocked(Exception):
    """A node cannot be brought about here and now, since another process is making it or what it rests on."""

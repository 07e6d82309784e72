"""Evaluate a graph of stages, backward from the outputs.

The identity of a result is a hash of its stage, the stage's ``VERSION``, fields and environment, and the identities of
its inputs. A result in the store is used without looking at what it was made from, so evaluation goes only as deep as
something is missing.

A result that another process is making is left to that process. Evaluation goes on with everything else, goes through
the outputs again, and waits only if there was nothing to do in a whole round.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stc.errors import InputError
from stc.models import read_config
from stc.models.hub import HubModel
from stc.pipeline import model_cache
from stc.pipeline.external import external_artifact
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.keep import Keep, Keeper
from stc.pipeline.logged_curves import Curves, read_journal, with_journal
from stc.pipeline.stage import Context, Inputs
from stc.store import ABSENT, MadeElsewhere, Store, identity_of
from stc.store.artifact import Artifact, Kind
from stc.store.difference import explain_missing
from stc.system.machine import git_commit, versions

_POLL_SECONDS = 2.0  # the longest pause between two looks at another process's work; the first ones are shorter


@dataclass(frozen=True)
class NodeResult:
    """The result of a node. ``seconds`` and ``curves`` are of when it was made, in this run or before."""

    name: str
    artifact: Artifact
    cached: bool
    seconds: float
    curves: Curves = field(default_factory=dict)


class _Key(NamedTuple):
    """``first`` is the identity of generation 0. Each forced run of a result makes one more generation."""

    identity: str
    first: str
    generation: int
    spec: dict[str, Any]


class Evaluation:
    """One evaluation of a pipeline against a store.

    Args:
        context: makes the context of a node from its name and scratch folder.
        force: nodes to make anew; what is made from them follows. Of several processes at once, one makes each node
            anew and the others use its result. A process that starts afterwards makes it once more.
        begin: called with every node that is about to run, what it does in plain words, and a line that says why, with
            hashes.
        announce: called with a line for every node that is waited for, or whose result is dropped.
        before_stage: called before a stage runs on its inputs. It raises an error to stop the run.
        keep: with ``final``, the weights that this run makes on the way are dropped as soon as no run needs them.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        context: Callable[[str, Path], Context],
        *,
        force: Sequence[str] = (),
        begin: Callable[[Node, str, str], None] = lambda node, activity, reason: None,
        announce: Callable[[str], None] = lambda line: None,
        before_stage: Callable[[Node, Inputs], None] = lambda node, inputs: None,
        keep: Keep = "all",
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._context = context
        self._force = pipeline.equal_nodes(force)
        self._begin = begin
        self._announce = announce
        self._before_stage = before_stage
        self._keys: dict[str, _Key] = {}
        self._generations: dict[str, int] = {}
        self._blocked: set[str] = set()  # in this round: nodes made elsewhere, and nodes that need them
        self._elsewhere: dict[str, str] = {}  # in this round: node → the line to announce if it is waited for
        self._results: dict[str, NodeResult] = {}

        def identities() -> dict[str, str]:
            return {name: key.identity for name, key in self._keys.items()}

        self._keeper = Keeper(pipeline, store, keep, identities, announce)

    def run(self, finished: Callable[[NodeResult], None] = lambda result: None) -> list[NodeResult]:
        """Make or find every output, and return the result of each node needed, in order.

        Args:
            finished: called with each result as soon as it is there.
        """
        self._finished = finished
        try:
            with self._keeper.at_work():
                self._run_rounds()
        finally:
            model_cache.clear()
        return [self._result(name) for name in self._pipeline.required_nodes()]

    def _run_rounds(self) -> None:
        announced: set[str] = set()
        pause = 0.0
        while True:
            before = len(self._results)
            if self._run_round():
                break
            if len(self._results) > before:
                pause = 0.0
                continue
            for line in [line for line in self._elsewhere.values() if line not in announced]:
                self._announce(line)
                announced.add(line)
            pause = min(_POLL_SECONDS, 1.5 * pause + 0.05)
            model_cache.clear()  # the other process may need the memory
            time.sleep(pause)

    def _run_round(self) -> bool:
        """Make or find what can be, and return whether that was everything."""
        self._blocked.clear()
        self._elsewhere.clear()
        for name in self._pipeline.outputs:
            try:
                self._bring(name)
            except _Blocked:
                if self._pipeline.nodes[name].kind is Kind.CHECK:
                    break  # a check must pass before anything after it is made
        return not self._blocked

    def artifact(self, name: str) -> Artifact:
        """Return the artifact of a node without making or reading it."""
        return self._result(name).artifact

    def _result(self, name: str) -> NodeResult:
        if name in self._results:
            return self._results[name]
        node = self._pipeline.nodes[name]
        if node.source is not None:
            return self._bring(name)
        identity = self._key(name).identity
        facts = (self._store.record(node.kind, identity) or {}).get("facts", {})
        return self._stored(node, Artifact(node.kind, self._store.path(node.kind, identity), identity, facts))

    def _stored(self, node: Node, artifact: Artifact) -> NodeResult:
        record = self._store.record(node.kind, artifact.identity) or {}
        return NodeResult(node.name, artifact, True, record.get("seconds", 0.0), record.get("curves", {}))

    def _key(self, name: str) -> _Key:
        if name not in self._keys:
            node = self._pipeline.nodes[name]
            stage = node.stage
            assert stage is not None
            spec: dict[str, Any] = {
                "stage": node.stage_name,
                "version": stage.VERSION,
                "config": stage.identity_fields(),
                "inputs": {key: self._input_identity(node, key, target) for key, target in node.upstream()},
                "surroundings": dict(self._environment(node)),
            }
            first = identity_of(spec)
            # Decided once for all nodes with this result: as soon as it is made, the store counts one more.
            generation = self._generations.setdefault(first, self._store.generation(first) + (name in self._force))
            if generation:
                spec["generation"] = generation
            self._keys[name] = _Key(identity_of(spec), first, generation, spec)
        return self._keys[name]

    def _environment(self, node: Node) -> Mapping[str, Any]:
        assert node.stage is not None
        return node.stage.environment(self._context(node.name, self._store.root))

    def _input_identity(self, node: Node, key: str, target: str) -> Any:
        by = node.input(key).by
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
        return self._key(target).identity

    def _bring(self, name: str) -> NodeResult:
        """Find or make a node's result. Raises _Blocked if it, or something it needs, is made elsewhere."""
        if name in self._blocked:
            raise _Blocked
        node = self._pipeline.nodes[name]
        if name not in self._results or not os.path.lexists(self._results[name].artifact.path):  # lost to another run
            if node.source is not None:
                folder = node.source.fetch(read_config) if isinstance(node.source, HubModel) else node.source
                self._results[name] = NodeResult(name, external_artifact(self._store, node.kind, folder), True, 0.0)
            else:
                try:
                    self._results[name] = self._find_or_make(node)
                except _Blocked:
                    self._blocked.add(name)
                    raise
            self._finished(self._results[name])
            self._keeper.drop_unneeded()
        return self._results[name]

    def _find_or_make(self, node: Node) -> NodeResult:
        try:
            identity, first, generation, spec = self._key(node.name)
        except _Blocked:  # another process is finding out a fact that identifies it; its other inputs can be made
            self._inputs(node)
            raise
        self._keeper.tell_needs()
        found, reason = self._store.get(node.kind, identity)
        if found is not None:
            if node.name in self._force:  # made by another process, or by a run that was killed before the next line
                self._store.set_generation(first, generation)
            return self._stored(node, found)
        holder = self._store.holder(identity)
        if holder is not None and holder.alive:
            self._elsewhere[node.name] = f"{node.name}: made by {holder.who}, waiting"
            raise _Blocked
        inputs = self._inputs(node)
        if holder is not None:
            reason = f"taken over from {holder.who}, which no longer answers"
        elif reason == ABSENT:
            reason = "forced" if node.name in self._force else explain_missing(self._store, node.kind, spec)
        result = self._make(node, f"{node.name} ({node.stage_name} {identity[:8]}): {reason}", inputs)
        if generation:
            self._store.set_generation(first, generation)
        return result

    def _inputs(self, node: Node) -> dict[str, Any]:
        """Make or find all inputs of a node that can be; raises _Blocked if one cannot."""
        blocked = False
        for key, target in node.upstream():
            try:
                if not self._is_recorded(node, key, target):
                    self._bring(target)
            except _Blocked:
                blocked = True
        if blocked:
            raise _Blocked
        for key, target in node.upstream():
            if node.input(key).read:
                self._bring(target)  # again, if another run has dropped it while the next one was made
        return {
            name: self.artifact(wiring)
            if isinstance(wiring, str)
            else {label: self.artifact(target) for label, target in wiring.items()}
            for name, wiring in node.inputs.items()
        }

    def _is_recorded(self, node: Node, key: str, target: str) -> bool:
        """Return whether an input is one whose record is enough, and there is one."""
        found = self._pipeline.nodes[target]
        if node.input(key).read or found.source is not None:
            return False
        return self._store.record(found.kind, self._key(target).identity) is not None

    def _make(self, node: Node, reason: str, inputs: Mapping[str, Any]) -> NodeResult:
        identity, _, _, spec = self._key(node.name)
        assert node.stage is not None
        self._before_stage(node, inputs)
        begun = False
        try:
            with self._store.publish(node.kind, identity) as (folder, record):
                begun = True
                self._begin(node, node.stage.activity(inputs), reason)
                started = time.monotonic()
                context = with_journal(self._context(node.name, self._store.scratch(identity)))
                model_cache.clear_before(node.stage)
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
                if self._keeper.is_intermediate(node.kind, identity):
                    record["intermediate"] = True
        except MadeElsewhere as elsewhere:
            if begun:
                self._announce(f"{node.name}: {elsewhere}, whose result is used")
            raise _Blocked from elsewhere
        made = Artifact(node.kind, self._store.path(node.kind, identity), identity, facts)
        return NodeResult(node.name, made, False, seconds, curves)


class _Blocked(Exception):
    """A node cannot be made here and now, since another process is making it or something it needs."""

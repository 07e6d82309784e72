"""Find out what a run would find in the store and what it would have to make, without making or changing anything.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from stc.errors import ModelError
from stc.models.folder import ModelFolder
from stc.models.hub import HubModel
from stc.pipeline.external import external_artifact
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context
from stc.store import ABSENT, Store, identity_of
from stc.store.artifact import RECORD_FILE, Artifact
from stc.store.difference import explain_missing
from stc.store.needs import FactsOf
from stc.store.records import read_record

Environments = dict[str, Mapping[str, Any]]
"""The environments of stages, by stage and fields: the jobs of a sweep read the same files."""


class StepState(StrEnum):
    """The state of a node before a run."""

    GIVEN = "given"  # a folder that replaces a stage
    FETCH = "download"  # a model of the hub that is not here yet
    CACHED = "cached"
    RUN = "run"
    UNNEEDED = "not needed"  # all that depends on it is there


@dataclass(frozen=True)
class PlannedStep:
    """A node as a run would find it.

    Attributes:
        identity: equal for what two jobs share. Provisional if ``after`` is set.
        why: the reason to run it, unless its inputs have to run as well.
        after: the node whose result decides the identity. The store can be asked only when that is there.
        artifact: the artifact, if it exists.
        forecast: what it is or will be, as :meth:`stc.pipeline.stage.Stage.forecast` returns; None if not known.
        inputs: the forecasts of its inputs, without those that have labels.
        shared: what makes it earlier: another job, or a step of this one.
    """

    node: Node
    state: StepState
    identity: str
    why: str = ""
    after: str | None = None
    artifact: Artifact | None = None
    forecast: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    shared: str = ""

    @property
    def runs(self) -> bool:
        return self.state is StepState.RUN and not self.shared

    @property
    def name(self) -> str:
        return self.node.name


class DryRun(Evaluation):
    """An evaluation that makes nothing.

    For an input known ``by`` facts of a result that is not there, a :class:`stc.store.needs.FactsOf` replaces the
    facts. The identity that follows is in no store, and is equal in two jobs if the result is the same.

    Args:
        environments: those known already; it is added to.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        context: Context,
        *,
        force: tuple[str, ...] = (),
        environments: Environments | None = None,
    ) -> None:
        super().__init__(pipeline, store, lambda name, scratch: context, force=force)
        self._environments: Environments = {} if environments is None else environments
        self._after: dict[str, str] = {}
        self._steps: dict[str, PlannedStep] = {}

    def steps(self) -> list[PlannedStep]:
        """Return every node that the outputs depend on, each after its inputs."""
        for name in self._pipeline.outputs:
            self._visit(name)
        return [self._steps.get(name) or self._unneeded(name) for name in self._pipeline.required_nodes()]

    def provisional_specs(self) -> dict[str, Mapping[str, Any]]:
        """Return what is known of the nodes with provisional identities, by these, each after its inputs."""
        return {key.identity: key.spec for name, key in self._keys.items() if name in self._after}

    def _visit(self, name: str) -> PlannedStep:
        if name not in self._steps:
            node = self._pipeline.nodes[name]
            self._steps[name] = self._find_source(node) if node.source is not None else self._find_result(node)
        return self._steps[name]

    def _find_result(self, node: Node) -> PlannedStep:
        identity, _, _, spec = self._key(node.name)
        found, why = self._store.inspect(node.kind, identity)
        if found is not None:
            return PlannedStep(node, StepState.CACHED, identity, artifact=found)
        needed = (target for key, target in node.upstream() if not self._is_recorded(node, key, target))
        inputs = [self._visit(target) for target in needed]
        why = self._reason(node, why, spec, inputs)
        return PlannedStep(node, StepState.RUN, identity, why, self._after.get(node.name))

    def _find_source(self, node: Node) -> PlannedStep:
        folder = node.source.cached() if isinstance(node.source, HubModel) else node.source
        if isinstance(node.source, HubModel) and (folder is None or not _is_complete(folder)):
            self._after[node.name] = node.name
            return PlannedStep(node, StepState.FETCH, identity_of({"hub": node.source.id}), after=node.name)
        assert folder is not None
        if self._store.root.exists():
            artifact = external_artifact(self._store, node.kind, folder)
        else:  # nothing can be found there, so there is no need to read 17 GB
            record, _ = read_record(folder / RECORD_FILE)
            facts = (record or {}).get("facts", {})
            artifact = Artifact(node.kind, folder, identity_of({"folder": str(folder)}), facts)
        return PlannedStep(node, StepState.GIVEN, artifact.identity, artifact=artifact)

    def _reason(self, node: Node, why: str, spec: Mapping[str, Any], inputs: list[PlannedStep]) -> str:
        if node.name in self._force:
            return "forced"
        if why != ABSENT:
            return why
        if any(step.state in (StepState.RUN, StepState.FETCH) for step in inputs):
            return ""
        return explain_missing(self._store, node.kind, spec) if self._store.root.exists() else ""

    def _unneeded(self, name: str) -> PlannedStep:
        node = self._pipeline.nodes[name]
        return PlannedStep(node, StepState.UNNEEDED, "" if node.source is not None else self._key(name)[0])

    def _input_identity(self, node: Node, key: str, target: str) -> Any:
        by = node.input(key).by
        if by or self._pipeline.nodes[target].source is not None:
            step = self._visit(target)
            if step.artifact is None:  # its facts, or the content of a download, are not known
                self._after.setdefault(node.name, target)
                facts = FactsOf(after=step.identity, kind=step.node.kind.value, facts=by)
                return facts if by else {"after": step.identity}
        found = super()._input_identity(node, key, target)
        if not by and target in self._after:
            self._after.setdefault(node.name, self._after[target])
        return found

    def _bring(self, name: str) -> NodeResult:
        """Return what exists already; only :meth:`_input_identity` asks for it."""
        artifact = self._visit(name).artifact
        assert artifact is not None
        return NodeResult(name, artifact, True, 0.0)

    def _environment(self, node: Node) -> Mapping[str, Any]:
        assert node.stage is not None
        key = f"{node.stage_name} {node.stage!r}"
        if key not in self._environments:
            self._environments[key] = super()._environment(node)
        return self._environments[key]


def _is_complete(folder: Path) -> bool:
    try:
        ModelFolder.of(folder)
    except ModelError:
        return False
    return True

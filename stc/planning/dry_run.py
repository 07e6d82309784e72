"""What a run would find in the store and what it would have to make, without making or changing anything.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from stc.errors import ModelError
from stc.models.folder import ModelFolder
from stc.models.hub import HubModel
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation, NodeResult, external_artifact
from stc.pipeline.stage import Context
from stc.store import ABSENT, Store, identity_of
from stc.store.artifact import RECORD_FILE, Artifact
from stc.store.difference import explain_missing
from stc.store.records import read_record

Environments = dict[str, Mapping[str, Any]]
"""What the stages' environments gave, by stage and fields: the jobs of a sweep read the same files."""


class StepState(StrEnum):
    """How a node stands before a run."""

    GIVEN = "given"  # a folder that stands in for a stage
    FETCH = "download"  # a model of the hub that is not here yet
    CACHED = "cached"
    RUN = "run"
    UNNEEDED = "not needed"  # what rests on it is there


@dataclass(frozen=True)
class DryRunStep:
    """A node as a run would find it.

    Attributes:
        identity: equal for what two jobs share. Provisional where it is ``after`` something.
        why: for a node to run, why it has to, where that does not follow from its inputs having to.
        after: the node whose result decides the identity. Only once it is there can the store be asked.
        artifact: what is there already.
    """

    node: Node
    state: StepState
    identity: str
    why: str = ""
    after: str | None = None
    artifact: Artifact | None = None

    @property
    def name(self) -> str:
        return self.node.name


class DryRun(Evaluation):
    """An evaluation that looks and makes nothing.

    An input known ``by`` facts of a result that is not there has a stand-in for an identity, made of that of the
    result. It is found in no store, and equal in two jobs if the result is the same one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        context: Callable[[str, Path], Context],
        *,
        force: tuple[str, ...] = (),
        known: Environments | None = None,
    ) -> None:
        super().__init__(pipeline, store, context, force=force)
        self._known: Environments = {} if known is None else known
        self._after: dict[str, str] = {}
        self._steps: dict[str, DryRunStep] = {}

    def steps(self) -> list[DryRunStep]:
        """Every node that the outputs rest on, each after what it needs."""
        for name in self._pipeline.outputs:
            self._visit(name)
        return [self._steps.get(name) or self._unneeded(name) for name in self._pipeline.required_nodes()]

    def _visit(self, name: str) -> DryRunStep:
        if name in self._steps:
            return self._steps[name]
        node = self._pipeline.nodes[name]
        if node.source is not None:
            step = self._source(node)
        else:
            identity, _, _, spec = self._key(name)
            found, why = self._store.inspect(node.kind, identity)
            if found is not None:
                step = DryRunStep(node, StepState.CACHED, identity, artifact=found)
            else:
                inputs = [self._visit(target) for _, target in node.upstream()]
                step = DryRunStep(
                    node, StepState.RUN, identity, self._reason(node, why, spec, inputs), self._after.get(name)
                )
        self._steps[name] = step
        return step

    def _source(self, node: Node) -> DryRunStep:
        folder = node.source.cached() if isinstance(node.source, HubModel) else node.source
        if isinstance(node.source, HubModel) and (folder is None or not _complete(folder)):
            self._after[node.name] = node.name
            return DryRunStep(node, StepState.FETCH, identity_of({"hub": node.source.id}), after=node.name)
        assert folder is not None
        if self._store.root.exists():
            artifact = external_artifact(self._store, node.kind, folder)
        else:  # nothing can be found there, so that 17 GB need not be read to ask
            record, _ = read_record(folder / RECORD_FILE)
            artifact = Artifact(
                node.kind, folder, identity_of({"folder": str(folder)}), (record or {}).get("facts", {})
            )
        return DryRunStep(node, StepState.GIVEN, artifact.identity, artifact=artifact)

    def _reason(self, node: Node, why: str, spec: Mapping[str, Any], inputs: list[DryRunStep]) -> str:
        if node.name in self._force:
            return "forced"
        if why != ABSENT:
            return why
        if any(step.state in (StepState.RUN, StepState.FETCH) for step in inputs):
            return ""
        return explain_missing(self._store, node.kind, spec) if self._store.root.exists() else ""

    def _unneeded(self, name: str) -> DryRunStep:
        node = self._pipeline.nodes[name]
        identity = "" if node.source is not None else self._key(name)[0]
        return DryRunStep(node, StepState.UNNEEDED, identity)

    def _input_identity(self, node: Node, key: str, target: str) -> Any:
        assert node.stage is not None
        by = type(node.stage).TAKES[key.split(".")[0]].by
        if by or self._pipeline.nodes[target].source is not None:
            step = self._visit(target)
            if step.artifact is None:  # its facts, or the content of a download
                self._after.setdefault(node.name, target)
                return {"after": step.identity}
        found = super()._input_identity(node, key, target)
        if not by and target in self._after:
            self._after.setdefault(node.name, self._after[target])
        return found

    def _bring(self, name: str) -> NodeResult:
        """What is there already: asked for by :meth:`_input_identity` only."""
        artifact = self._visit(name).artifact
        assert artifact is not None
        return NodeResult(name, artifact, True, 0.0)

    def _environment(self, node: Node) -> Mapping[str, Any]:
        assert node.stage is not None
        key = f"{node.stage_name} {node.stage!r}"
        if key not in self._known:
            self._known[key] = super()._environment(node)
        return self._known[key]


def _complete(folder: Path) -> bool:
    try:
        ModelFolder.of(folder)
    except ModelError:
        return False
    return True

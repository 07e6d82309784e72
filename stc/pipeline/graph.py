"""A graph of named stages whose inputs fit. It knows nothing of models."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from stc.errors import ConfigError, Fault, suggestion
from stc.models.hub import HubModel
from stc.pipeline.stage import Stage, StageInput
from stc.store.artifact import Kind

Wiring = str | Mapping[str, str]
"""The origin of an input: the name of a node, or a mapping from labels to names."""


@dataclass(frozen=True)
class Node:
    """A named stage, or a folder or a model of the hub in its place (``source``)."""

    name: str
    kind: Kind
    stage_name: str
    stage: Stage | None = None
    inputs: Mapping[str, Wiring] = field(default_factory=dict)
    source: Path | HubModel | None = None

    def upstream(self) -> Iterator[tuple[str, str]]:
        """Yield (key of the input, name of its node). Keys of labelled inputs are written ``scores.teacher``.

        Those of one label follow each other, so that a system is finished before the next one is begun.
        """
        labels: dict[str, None] = {}
        for name, wiring in self.inputs.items():
            if isinstance(wiring, str):
                yield name, wiring
            else:
                labels.update(dict.fromkeys(wiring))
        for label in labels:
            for name, wiring in self.inputs.items():
                if not isinstance(wiring, str) and label in wiring:
                    yield f"{name}.{label}", wiring[label]

    def input(self, key: str) -> StageInput:
        """Return what the stage says of an input, by its key."""
        assert self.stage is not None
        return type(self.stage).TAKES[key.partition(".")[0]]


class Pipeline:
    """Nodes that fit together: every input exists and has the right kind, and there are no cycles.

    Raises:
        ConfigError: with a fault for every input that does not fit.
    """

    def __init__(self, nodes: Mapping[str, Node], outputs: Sequence[str]) -> None:
        self.nodes = dict(nodes)
        self.outputs = list(outputs)
        faults = [fault for node in self.nodes.values() for fault in self._input_faults(node)]
        for name in self.outputs:
            if name not in self.nodes:
                faults.append(Fault("pipeline.outputs", name, f"no such stage{suggestion(name, self.nodes)}"))
        if faults:
            raise ConfigError(faults)
        try:
            TopologicalSorter(
                {node.name: [target for _, target in node.upstream()] for node in nodes.values()}
            ).prepare()
        except CycleError as error:
            cycle = error.args[1][::-1]
            fault = Fault(f"stages.{cycle[0]}.inputs", " → ".join(cycle), "a stage cannot need its own result")
            raise ConfigError([fault]) from None

    def _input_faults(self, node: Node) -> Iterator[Fault]:
        if node.stage is None:
            return
        takes = type(node.stage).TAKES
        where = f"stages.{node.name}.inputs"
        for name in takes.keys() - node.inputs.keys():
            if not takes[name].optional:
                yield Fault(f"{where}.{name}", None, f"stage {node.stage_name} needs a {takes[name].kind.value} here")
        for name, wiring in node.inputs.items():
            if name not in takes:
                allowed = f"{node.stage_name} takes {', '.join(takes)}{suggestion(name, takes)}"
                yield Fault(f"{where}.{name}", wiring, allowed)
            elif takes[name].many == isinstance(wiring, str):
                form = "a mapping from label to stage" if takes[name].many else "the name of a stage"
                yield Fault(f"{where}.{name}", wiring, f"{form} is needed")
        for name, reason in node.stage.invalid_inputs(node.inputs.keys()):
            yield Fault(f"{where}.{name}", node.inputs.get(name), reason)
        for key, target in node.upstream():
            wanted = takes.get(key.split(".")[0])
            if target not in self.nodes:
                yield Fault(f"{where}.{key}", target, f"no such stage{suggestion(target, self.nodes)}")
            elif wanted and self.nodes[target].kind is not wanted.kind:
                kind = self.nodes[target].kind.value
                yield Fault(f"{where}.{key}", target, f"gives a {kind}, not a {wanted.kind.value}")

    def required_nodes(self) -> list[str]:
        """Return the nodes that the outputs depend on, in the order in which a run with an empty store makes them.

        Each comes after those that it needs, and after those whose facts are in the identity of what it leads to.
        """
        order: dict[str, None] = {}
        identified: set[str] = set()

        def identify(name: str) -> None:
            if name not in identified:
                identified.add(name)
                node = self.nodes[name]
                for key, target in node.upstream():
                    visit(target) if node.input(key).by else identify(target)

        def visit(name: str) -> None:
            if name not in order:
                identify(name)
                for _, target in self.nodes[name].upstream():
                    visit(target)
                order[name] = None

        for name in self.outputs:
            visit(name)
        return list(order)

    def final_nodes(self) -> set[str]:
        """Return the nodes whose results a run is for: the outputs, and the last system that an output compares.

        A compared system is an item of a labelled input whose files are not read.
        """
        final = set(self.outputs)
        for node in map(self.nodes.__getitem__, self.outputs):
            for name, wiring in node.inputs.items():
                if not isinstance(wiring, str) and not node.input(name).read:
                    final.add(list(wiring.values())[-1])
        return final

    def equal_nodes(self, names: Collection[str]) -> set[str]:
        """Return nodes with all others that have the same stage, fields and inputs. They have one result."""

        def description(name: str) -> tuple[Any, ...]:
            node = self.nodes[name]
            if node.stage is None:
                return node.kind, str(node.source)
            fields = json.dumps(node.stage.identity_fields(), sort_keys=True)
            return node.stage_name, fields, tuple((key, description(target)) for key, target in sorted(node.upstream()))

        wanted = set(map(description, names))
        return {name for name in self.nodes if wanted and description(name) in wanted}

"""Which layers of a model are removed, and in what order: what every ranking says and pruning acts on.

Imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from stc.errors import InputError
from stc.models.architecture import Stack, protected_layers

RANKING_FILE = "ranking.json"


@with_config(ConfigDict(extra="allow"))
class Candidate(TypedDict):
    """A layer, or the block of ``layers`` that begins at ``first``, and what was found for it."""

    stack: Stack
    layer: NotRequired[int]
    first: NotRequired[int]
    layers: NotRequired[int]
    score: NotRequired[float | None]
    influence: NotRequired[float]
    distance: NotRequired[float]


@with_config(ConfigDict(extra="allow"))
class Ranking(TypedDict):
    """The shape of ranking.json; ``candidates`` are there where layers were compared."""

    order: list[int]
    encoder_order: NotRequired[list[int]]
    metric: NotRequired[str]
    candidates: NotRequired[Annotated[list[Candidate], Field(min_length=1)]]


Scope = Literal["decoder", "encoder", "both"]
Layer = tuple[Stack, int]

_STACKS: tuple[Stack, ...] = ("decoder", "encoder")
_PREFIX: dict[Stack, str] = {"decoder": "", "encoder": "encoder_"}  # of a stack's facts


class LayerCounts(BaseModel):
    """Field of the stages that choose without looking at a model.

    Attributes:
        of: how many layers each stack has from which is removed.
    """

    of: dict[Stack, int] = Field(min_length=1)


@dataclass(frozen=True)
class Removal:
    """Layers in the order of their removal, numbered as in the model before the first of them was removed.

    Attributes:
        of: how many layers that model had, by stack; the stacks are those removal is from.
    """

    of: Mapping[Stack, int]
    order: tuple[Layer, ...] = ()

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Removal:
        """The removal of a ranking, by the facts of its record. Only within a stack is the order that of removal.

        Raises:
            InputError: the record is of something else.
        """
        try:
            order = [(stack, layer) for stack in _STACKS for layer in facts[f"{_PREFIX[stack]}order"]]
            return cls(facts["layers"], tuple(order))
        except KeyError as error:
            raise InputError(f"the record of a ranking does not say {error}") from None

    def facts(self) -> dict[str, Any]:
        """Per stack the layers in order of removal and sorted; ``encoder_`` stands before those of the encoder."""
        orders = by_stack(self.order)
        return {
            "layers": dict(self.of),
            **{f"{_PREFIX[stack]}order": order for stack, order in orders.items()},
            **{f"{_PREFIX[stack]}layers_removed": sorted(order) for stack, order in orders.items()},
        }

    def save(self, folder: Path, how: Mapping[str, Any]) -> dict[str, Any]:
        """Write the ranking, with ``how`` it was found, and return its facts."""
        facts = self.facts()
        (folder / RANKING_FILE).write_text(json.dumps({**how, **facts}, indent=1) + "\n", encoding="utf-8")
        return facts

    def candidates(self) -> list[Layer]:
        """The layers that can be removed next."""
        return [layer for layer in removable(self.of) if layer not in self.order]

    def places(self, found: Mapping[Stack, int], folder: Path) -> dict[Layer, int]:
        """Where each layer is in a model that may have lost the first layers of ``order`` already.

        Args:
            found: how many layers the model has, by stack. What it has fewer than ``of``, it has lost.
            folder: of that model, for the error.

        Raises:
            InputError: it has more layers, or has lost more.
        """
        places: dict[Layer, int] = {}
        for stack, count in self.of.items():
            order = by_stack(self.order)[stack]
            lost = count - found[stack]
            if not 0 <= lost <= len(order):
                raise InputError(
                    f"{folder} has {found[stack]} {stack} layers; the ranking is of {count}, and {len(order)} of them "
                    "are removed"
                )
            present = [layer for layer in range(count) if layer not in order[:lost]]
            places |= {(stack, layer): place for place, layer in enumerate(present)}
        return places


def stacks(scope: Scope) -> tuple[Stack, ...]:
    return _STACKS if scope == "both" else (scope,)


def removable(of: Mapping[Stack, int]) -> list[Layer]:
    """Every layer but the protected ones, those of the decoder first."""
    return [
        (stack, layer)
        for stack in _STACKS
        if stack in of
        for layer in range(of[stack])
        if layer not in protected_layers(of[stack])
    ]


def layers_per_stack(layers: int, of: Mapping[Stack, int]) -> dict[Stack, int]:
    """``layers`` shared out over the stacks in proportion to their size, for methods that take a block of each.

    Raises:
        InputError: there are not that many that can be removed.
    """
    room = {stack: len(layers) for stack, layers in by_stack(removable(of)).items()}
    if layers > sum(room.values()):
        raise InputError(f"{layers} layers cannot be removed: of {dict(of)}, {sum(room.values())} can")
    if len(of) == 1:
        return dict.fromkeys(of, layers)
    encoder = round(layers * of["encoder"] / sum(of.values()))
    encoder = min(max(encoder, layers - room["decoder"]), room["encoder"])
    return {"decoder": layers - encoder, "encoder": encoder}


def by_stack(layers: Iterable[Layer]) -> dict[Stack, list[int]]:
    """Stack → those of ``layers`` that are its own, in their order; every stack is there."""
    found: dict[Stack, list[int]] = {stack: [] for stack in _STACKS}
    for stack, layer in layers:
        found[stack].append(layer)
    return found


def removal_faults(layers: Iterable[Layer], of: Mapping[Stack, int]) -> dict[Stack, str]:
    """What is wrong with layers that a user names, by stack: protected ones, ones that do not exist, and repeats."""
    faults: dict[Stack, str] = {}
    allowed = by_stack(removable(of))
    for stack, named in by_stack(layers).items():
        if wrong := sorted(set(named) - set(allowed[stack])):
            can = f"{allowed[stack][0]} to {allowed[stack][-1]}" if allowed[stack] else "none"
            which = ", ".join(map(str, wrong))
            faults[stack] = f"{which} cannot be removed: of {of.get(stack, 0)} {stack} layers, {can} can"
        elif len(set(named)) < len(named):
            faults[stack] = f"{', '.join(map(str, named))}: each layer can be named once"
    return faults

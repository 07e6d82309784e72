"""Rankings: the layers of a model that are removed, in their order.

Imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from stc.errors import InputError
from stc.models.architecture import Stack, protected_layers

RANKING_FILE = "ranking.json"


@with_config(ConfigDict(extra="allow"))
class Candidate(TypedDict):
    """A layer, or the block of ``layers`` that begins at ``first``, and what was measured of it."""

    stack: Stack
    layer: NotRequired[int]
    first: NotRequired[int]
    layers: NotRequired[int]
    score: NotRequired[float | None]
    influence: NotRequired[float]
    distance: NotRequired[float]


@with_config(ConfigDict(extra="allow"))
class Ranking(TypedDict):
    """The shape of ranking.json. It has ``candidates`` if layers were compared."""

    order: list[int]
    encoder_order: NotRequired[list[int]]
    metric: NotRequired[str]
    candidates: NotRequired[Annotated[list[Candidate], Field(min_length=1)]]


Scope = Literal["decoder", "encoder", "both"]
Layer = tuple[Stack, int]
_T = TypeVar("_T")

STACKS: tuple[Stack, ...] = ("decoder", "encoder")
_FACT_PREFIX: dict[Stack, str] = {"decoder": "", "encoder": "encoder_"}


class LayerCounts(BaseModel):
    """The field of stages that choose layers without looking at a model.

    Attributes:
        of: the number of layers of each stack that layers are removed from.
    """

    of: dict[Stack, int] = Field(min_length=1)


@dataclass(frozen=True)
class Removal:
    """Layers in the order of their removal, numbered as in the model before the first removal.

    Attributes:
        of: the number of layers of that model, by stack, for the stacks that layers are removed from.
    """

    of: Mapping[Stack, int]
    order: tuple[Layer, ...] = ()

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Removal:
        """Return the removal of a ranking, by the facts of its record. The order is right within each stack only.

        Raises:
            InputError: the record is not of a ranking.
        """
        try:
            order = [(stack, layer) for stack in STACKS for layer in facts[f"{_FACT_PREFIX[stack]}order"]]
            return cls(facts["layers"], tuple(order))
        except KeyError as error:
            raise InputError(f"the record of a ranking does not say {error}") from None

    def facts(self) -> dict[str, Any]:
        """Return the layers of each stack in order of removal, and sorted; the encoder's have a prefix."""
        orders = by_stack(self.order)
        return {
            "layers": dict(self.of),
            **{f"{_FACT_PREFIX[stack]}order": order for stack, order in orders.items()},
            **{f"{_FACT_PREFIX[stack]}layers_removed": sorted(order) for stack, order in orders.items()},
        }

    def save(self, folder: Path, details: Mapping[str, Any]) -> dict[str, Any]:
        """Write the ranking, with ``details`` on how it was found, and return its facts."""
        facts = self.facts()
        (folder / RANKING_FILE).write_text(json.dumps({**details, **facts}, indent=1) + "\n", encoding="utf-8")
        return facts

    def candidates(self) -> list[Layer]:
        """Return the layers that can be removed next."""
        return [layer for layer in removable(self.of) if layer not in self.order]

    def places(self, found: Mapping[Stack, int], folder: Path) -> dict[Layer, int]:
        """Return where each layer is in a model that may have lost the first layers of ``order`` already.

        Args:
            found: the number of layers that the model has, by stack. It has lost the difference to ``of``.
            folder: the model's, for error messages.

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


def in_scope(stacks: Mapping[Stack, _T], scope: Scope, where: Path | str) -> dict[Stack, _T]:
    """Return those of a model's stacks that a scope means: ``both`` is every stack that the model's family has.

    Args:
        where: the model, for error messages.

    Raises:
        InputError: the model has no such stack.
    """
    if scope == "both":
        return dict(stacks)
    if scope not in stacks:
        raise InputError(f"scope={scope}: {where} has no {scope}, only {', '.join(stacks)}")
    return {scope: stacks[scope]}


def removable(of: Mapping[Stack, int]) -> list[Layer]:
    """Return every layer that is not protected, those of the decoder first."""
    return [
        (stack, layer)
        for stack in STACKS
        for layer in range(of.get(stack, 0))
        if layer not in protected_layers(of[stack])
    ]


def layers_per_stack(layers: int, of: Mapping[Stack, int]) -> dict[Stack, int]:
    """Share out ``layers`` over the stacks in proportion to their size, for methods that take a block of each.

    Raises:
        InputError: not as many can be removed.
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
    """Return the layers of each stack, in their order. Every stack is there."""
    found: dict[Stack, list[int]] = {stack: [] for stack in STACKS}
    for stack, layer in layers:
        found[stack].append(layer)
    return found


def removal_faults(layers: Iterable[Layer], of: Mapping[Stack, int]) -> dict[Stack, str]:
    """Return, by stack, what is wrong with layers that a user names: protected, missing or repeated ones."""
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

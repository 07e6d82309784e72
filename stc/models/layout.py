"""What a model's folder is, or will be once it is made: its layers, its parameters and the bytes of its weights.

The shapes of the weights are those in the headers of a folder, or, for a model that is not on this machine, those that
its config describes. A model that loses layers has proportionally fewer of each shape. Bytes are those of the weights
alone, which are within 1 % of the files'. Imports neither torch nor transformers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.models import architecture
from stc.models.architecture import Architecture, ModelDimensions, Part, Stack
from stc.models.counting import ParameterCounts, counted, logical_shapes
from stc.models.folder import ModelFolder
from stc.models.removal import Removal, by_stack
from stc.models.shapes import Shapes, shapes_of
from stc.models.weights import ADAPTER_WEIGHTS, adapter_tensors

if TYPE_CHECKING:
    from stc.quantization import Quantizer

Layers = Mapping[Stack, int]

POSITIONS_PER_SECOND = 50  # of the layers of an encoder like Whisper's
WIDTH = {"float32": 4, "bfloat16": 2}
STORED = WIDTH["bfloat16"]  # bytes of an element that is not packed


@dataclass(frozen=True)
class RemovalCounts:
    """The number of layers a ranking removes.

    Attributes:
        of: how many the stacks had.
        known: how many of each stack are removed.
        either: how many more are, of one stack or another, which only the search will tell.
    """

    of: Layers
    known: Layers
    either: int = 0

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> RemovalCounts:
        """Return those of a ranking that is there, by the facts of its record."""
        removal = Removal.from_facts(facts)
        return cls(removal.of, {stack: len(layers) for stack, layers in by_stack(removal.order).items()})

    def with_one_more(self) -> RemovalCounts:
        if len(self.of) > 1:
            return replace(self, either=self.either + 1)
        return replace(self, known={stack: self.known.get(stack, 0) + 1 for stack in self.of})

    def left(self) -> list[dict[Stack, int]]:
        """Return the layers that may be left, by stack; one item where that is known."""
        left = {stack: count - self.known.get(stack, 0) for stack, count in self.of.items()}
        if not self.either:
            return [left]
        first, second = left
        shares = range(self.either + 1)
        return [{first: left[first] - one, second: left[second] - (self.either - one)} for one in shares]


@dataclass(frozen=True)
class Weight:
    """A kind of weight.

    Attributes:
        part: None of what belongs to no part that the family names.
        stack: whose layers have it; None outside of layers.
        linear: whether it is the matrix of a linear layer: what quantizers pack and adapters are put on.
    """

    shape: tuple[int, ...]
    part: Part | None
    stack: Stack | None
    linear: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class AdapterSize:
    """Low-rank adapters in a folder: how many parameters, in how many bytes of safetensors."""

    parameters: int
    weight_bytes: int

    @classmethod
    def of_folder(cls, folder: Path) -> AdapterSize:
        tensors = adapter_tensors(folder)
        return cls(sum(tensor.elements for tensor in tensors.values()), (folder / ADAPTER_WEIGHTS).stat().st_size)


@dataclass(frozen=True)
class FeatureSize:
    """What an encoder makes of recordings, in about so many bytes."""

    weight_bytes: int


@dataclass(frozen=True)
class Layout:
    """A model.

    Attributes:
        config: its config.json, or that of the model it is made of.
        layers: how many each of its stacks has.
        weights: how many of each kind of weight it has.
        counts: parameters, and elements as they are stored.
        weight_bytes: of the safetensors files together; of a model to come, about.
        other_bytes: of config, tokenizer and the like, about.
        largest: whether it is the largest of several that may come out.
        quantizer: the method its weights are packed by, or None.
        there: whether it is a folder, whose sizes are counted and not foreseen.
    """

    family: Architecture
    config: Mapping[str, Any]
    layers: Layers
    weights: Mapping[Weight, int]
    counts: ParameterCounts
    weight_bytes: int
    other_bytes: int = 0
    largest: bool = False
    quantizer: type[Quantizer] | None = None
    there: bool = False

    @classmethod
    def of_folder(cls, folder: Path) -> Layout:
        """Return a model that is there.

        Raises:
            ModelError: the folder is no model, or a damaged one.
        """
        model = ModelFolder.of(folder)
        return cls(
            model.family,
            model.config,
            model.family.layers(model.config),
            Counter(_weights(model.family, logical_shapes(model))),
            counted(model),
            model.weight_bytes,
            sum(file.stat().st_size for file in model.files) - model.weight_bytes,
            quantizer=model.quantizer,
            there=True,
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Layout:
        """Return a plain model that is not there yet."""
        family = architecture(config["model_type"])
        weights = Counter(_weights(family, shapes_of(config)))
        return cls(family, config, family.layers(config), weights, ParameterCounts(0, 0), 0).plain()

    @property
    def dimensions(self) -> ModelDimensions:
        return self.family.dimensions(self.config)

    @property
    def window_seconds(self) -> float:
        """The longest utterance it hears."""
        return self.dimensions.encoder_positions / POSITIONS_PER_SECOND or math.inf

    def elements(self, parts: Collection[str] | None = None, *, linear: bool = False) -> int:
        """Return the parameters of parts, or of all there is; only those of linear layers where that is asked."""
        return sum(
            count * one.elements
            for one, count in self.weights.items()
            if (parts is None or one.part in parts) and (one.linear or not linear)
        )

    def outputs(self, parts: Collection[Part]) -> int:
        """Return those of the linear layers of parts together, at one position."""
        return sum(count * one.shape[0] for one, count in self.weights.items() if one.linear and one.part in parts)

    def plain(self) -> Layout:
        """Return the same as :func:`stc.models.checkpoint.save` writes it, in bfloat16."""
        elements = self.elements()
        return replace(
            self,
            counts=ParameterCounts(elements, elements),
            weight_bytes=STORED * elements,
            quantizer=None,
            there=False,
        )

    def pruned(self, removals: RemovalCounts) -> Layout:
        """Return it with the layers left that a ranking leaves, however many of them are gone already."""
        possible = [self._with_layers({**self.layers, **left}) for left in removals.left()]
        largest = max(possible, key=lambda layout: layout.weight_bytes)
        return replace(largest, largest=self.largest or len(possible) > 1)

    def _with_layers(self, left: Layers) -> Layout:
        weights = {
            one: round(count * left[one.stack] / self.layers[one.stack]) if one.stack else count
            for one, count in self.weights.items()
        }
        return replace(self, layers=left, weights=weights).plain()

    def packed(self, quantizer: Quantizer) -> Layout:
        """Return it with the weights packed that a quantizer packs."""
        matrices = {
            one: count for one, count in self.weights.items() if one.linear and one.part in quantizer.packed_parts
        }
        elements, packed = self.elements(), sum(count * one.elements for one, count in matrices.items())
        taken = sum(count * quantizer.packed_bytes(one.shape) for one, count in matrices.items())
        return replace(
            self,
            counts=ParameterCounts(elements, elements - packed + packed * quantizer.BITS // 8),
            weight_bytes=STORED * (elements - packed) + round(taken),
            quantizer=type(quantizer),
            there=False,
        )

    def adapters(self, rank: int, parts: Collection[Part]) -> AdapterSize:
        """Return adapters of a rank on the linear layers of parts of it, in bfloat16."""
        parameters = sum(
            count * rank * sum(one.shape) for one, count in self.weights.items() if one.linear and one.part in parts
        )
        return AdapterSize(parameters, STORED * parameters)

    def states(self, seconds: float, dtype: str) -> FeatureSize:
        """Return what its encoder makes of so much audio."""
        positions = round(seconds * POSITIONS_PER_SECOND / self.family.encoder_pooling)
        return FeatureSize(positions * self.dimensions.encoder_width * WIDTH[dtype])

    def with_adapters(self, adapters: AdapterSize) -> Layout:
        """Return it with the adapters kept beside it."""
        counts = self.counts
        return replace(
            self,
            counts=ParameterCounts(
                counts.parameters + adapters.parameters, counts.packed_elements + adapters.parameters
            ),
            weight_bytes=self.weight_bytes + adapters.weight_bytes,
            there=False,
        )


def _weights(family: Architecture, shapes: Shapes) -> Iterator[Weight]:
    """Yield the weights with these names, which are those of the model or those on disk."""
    parts = [(part, module) for part, modules in family.parts.items() for module in modules]
    for name, shape in shapes.items():
        part = next((part for part, module in parts if _inside(family, name, module)), None)
        stack = next((stack for stack, layers in family.stacks.items() if _inside(family, name, layers)), None)
        matrix = len(shape) == 2 and (stack is not None or part in ("projector", "head"))
        yield Weight(shape, part, stack, matrix)


def _inside(family: Architecture, name: str, module: str) -> bool:
    return name.startswith((f"{module}.", family.stored_name(f"{module}.")))

"""The layers, parameters and weight bytes of a model folder, or of a model that is still to be made.

The shapes of the weights come from the headers of a folder or, for a model that is not on this machine, from its
config. A model that loses layers has proportionally fewer weights of each shape. Bytes are those of the weights alone,
to within 1 % of the files'. Imports neither torch nor transformers.
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
from stc.models.folder import ModelFolder, ParameterCounts
from stc.models.layer_ranking import Removal, by_stack
from stc.models.shapes import Shapes, shapes_of
from stc.models.weights import ADAPTER_WEIGHTS, adapter_tensors

if TYPE_CHECKING:
    from stc.quantization import Quantizer

LayersByStack = Mapping[Stack, int]

POSITIONS_PER_SECOND = 50  # of the layers of an encoder like Whisper's
WIDTH = {"float32": 4, "bfloat16": 2}  # bytes of an element
STORED_WIDTH = WIDTH["bfloat16"]


@dataclass(frozen=True)
class RemovalCounts:
    """The number of layers that a ranking removes.

    Attributes:
        of: the number of layers before the first removal, by stack.
        known: the layers removed from each stack.
        either: further layers removed, from a stack that only the search decides.
    """

    of: LayersByStack
    known: LayersByStack
    either: int = 0

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> RemovalCounts:
        """Count a finished ranking, by the facts of its record."""
        removal = Removal.from_facts(facts)
        return cls(removal.of, {stack: len(layers) for stack, layers in by_stack(removal.order).items()})

    def with_one_more(self) -> RemovalCounts:
        if len(self.of) > 1:
            return replace(self, either=self.either + 1)
        return replace(self, known={stack: self.known.get(stack, 0) + 1 for stack in self.of})

    def remaining(self) -> list[dict[Stack, int]]:
        """Return the layers that may remain, by stack; one item if that is known."""
        left = {stack: count - self.known.get(stack, 0) for stack, count in self.of.items()}
        if not self.either:
            return [left]
        first, second = left
        shares = range(self.either + 1)
        return [{first: left[first] - one, second: left[second] - (self.either - one)} for one in shares]


@dataclass(frozen=True)
class WeightKind:
    """Weights of one shape, in one place of a model.

    Attributes:
        part: None for a weight in no part that the family names.
        stack: the stack whose layers have it; None outside of layers.
        linear: whether it is the matrix of a linear layer, which quantizers pack and adapters are put on.
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
    """The size of low-rank adapters in a folder."""

    parameters: int
    weight_bytes: int

    @classmethod
    def of_folder(cls, folder: Path) -> AdapterSize:
        tensors = adapter_tensors(folder)
        return cls(sum(tensor.elements for tensor in tensors.values()), (folder / ADAPTER_WEIGHTS).stat().st_size)


@dataclass(frozen=True)
class FeatureSize:
    """The approximate size of an encoder's output for recordings."""

    weight_bytes: int


@dataclass(frozen=True)
class Layout:
    """The size and shape of a model.

    Attributes:
        config: its config.json, or that of the model it is made from.
        layers: the number of layers of each stack.
        weights: the number of weights of each kind.
        counts: parameters, and elements as they are stored.
        weight_bytes: all safetensors files together; approximate for a model that is to be made.
        other_bytes: config, tokenizer and the like; approximate as well.
        largest: whether it is the largest of several models that may come out.
        quantizer: the method that its weights are packed by, or None.
        exists: whether it is a folder, so that sizes are counted and not estimated.
    """

    family: Architecture
    config: Mapping[str, Any]
    layers: LayersByStack
    weights: Mapping[WeightKind, int]
    counts: ParameterCounts
    weight_bytes: int
    other_bytes: int = 0
    largest: bool = False
    quantizer: type[Quantizer] | None = None
    exists: bool = False

    @classmethod
    def of_folder(cls, folder: Path) -> Layout:
        """Return the layout of a model folder; raises as :meth:`stc.models.folder.ModelFolder.of`."""
        model = ModelFolder.of(folder)
        return cls(
            model.family,
            model.config,
            model.family.layers(model.config),
            Counter(_weight_kinds(model.family, model.logical_shapes)),
            model.counts,
            model.weight_bytes,
            sum(file.stat().st_size for file in model.files) - model.weight_bytes,
            quantizer=model.quantizer,
            exists=True,
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Layout:
        """Return the layout of an unquantized model that is to be made."""
        family = architecture(config["model_type"])
        weights = Counter(_weight_kinds(family, shapes_of(config)))
        return cls(family, config, family.layers(config), weights, ParameterCounts(0, 0), 0).in_bfloat16()

    @property
    def dimensions(self) -> ModelDimensions:
        return self.family.dimensions(self.config)

    @property
    def window_seconds(self) -> float:
        """The longest utterance that it can encode."""
        return self.dimensions.encoder_positions / POSITIONS_PER_SECOND or math.inf

    def elements(self, parts: Collection[str] | None = None, *, linear: bool = False) -> int:
        """Return the number of parameters, of some parts only, or of linear layers only."""
        return sum(
            count * kind.elements
            for kind, count in self.weights.items()
            if (parts is None or kind.part in parts) and (kind.linear or not linear)
        )

    def outputs(self, parts: Collection[Part]) -> int:
        """Return the number of outputs of all linear layers of parts together, at one position."""
        return sum(count * kind.shape[0] for kind, count in self._linear(parts).items())

    def in_bfloat16(self) -> Layout:
        """Return the layout of the model as :func:`stc.models.load_and_save.save` writes it unquantized."""
        elements = self.elements()
        return replace(
            self,
            counts=ParameterCounts(elements, elements),
            weight_bytes=STORED_WIDTH * elements,
            quantizer=None,
            exists=False,
        )

    def pruned(self, removals: RemovalCounts) -> Layout:
        """Return the layout with the layers that a ranking leaves, however many of them are gone already."""
        possible = []
        for remaining in removals.remaining():
            layers = {**self.layers, **remaining}
            weights = {
                kind: round(count * layers[kind.stack] / self.layers[kind.stack]) if kind.stack else count
                for kind, count in self.weights.items()
            }
            possible.append(replace(self, layers=layers, weights=weights).in_bfloat16())
        largest = max(possible, key=lambda layout: layout.weight_bytes)
        return replace(largest, largest=self.largest or len(possible) > 1)

    def packed(self, quantizer: Quantizer) -> Layout:
        """Return the layout after quantization."""
        matrices = self._linear(quantizer.packed_parts)
        elements, packed = self.elements(), sum(count * kind.elements for kind, count in matrices.items())
        packed_bytes = sum(count * quantizer.packed_bytes(kind.shape) for kind, count in matrices.items())
        return replace(
            self,
            counts=ParameterCounts(elements, elements - packed + packed * quantizer.BITS // 8),
            weight_bytes=STORED_WIDTH * (elements - packed) + round(packed_bytes),
            quantizer=type(quantizer),
            exists=False,
        )

    def adapters(self, rank: int, parts: Collection[Part]) -> AdapterSize:
        """Return the size of adapters on the linear layers of parts, in bfloat16."""
        parameters = sum(count * rank * sum(kind.shape) for kind, count in self._linear(parts).items())
        return AdapterSize(parameters, STORED_WIDTH * parameters)

    def features(self, seconds: float, dtype: str) -> FeatureSize:
        """Return the size of the encoder's output for so many seconds of audio."""
        positions = round(seconds * POSITIONS_PER_SECOND / self.family.encoder_pooling)
        return FeatureSize(positions * self.dimensions.encoder_width * WIDTH[dtype])

    def with_adapters(self, adapters: AdapterSize) -> Layout:
        """Return the layout with adapters in the folder beside the weights."""
        added = adapters.parameters
        return replace(
            self,
            counts=ParameterCounts(self.counts.parameters + added, self.counts.packed_elements + added),
            weight_bytes=self.weight_bytes + adapters.weight_bytes,
            exists=False,
        )

    def _linear(self, parts: Collection[str]) -> dict[WeightKind, int]:
        return {kind: count for kind, count in self.weights.items() if kind.linear and kind.part in parts}


def _weight_kinds(family: Architecture, shapes: Shapes) -> Iterator[WeightKind]:
    """Yield the kind of each weight. Names are those in the model or those on disk."""
    parts = [(part, module) for part, modules in family.parts.items() for module in modules]
    for name, shape in shapes.items():
        part = next((part for part, module in parts if _is_inside(family, name, module)), None)
        stack = next((stack for stack, layers in family.stacks.items() if _is_inside(family, name, layers)), None)
        linear = len(shape) == 2 and (stack is not None or part in ("projector", "head"))
        yield WeightKind(shape, part, stack, linear)


def _is_inside(family: Architecture, name: str, module: str) -> bool:
    return name.startswith((f"{module}.", family.stored_name(f"{module}.")))

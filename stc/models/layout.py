"""What a model's folder is, or will be once it is made: its layers, its parameters and the bytes of its weights.

All of it follows from config.json and what is done to the model, so that a plan can say it before any weight is there.
Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.models import architecture
from stc.models.architecture import Architecture, Extent, Part, Stack, Weight
from stc.models.counting import Counts, counted
from stc.models.folder import ModelFolder
from stc.models.removal import Removal, by_stack
from stc.models.weights import ADAPTER_WEIGHTS, SHARD_BYTES, adapter_tensors, file_bytes
from stc.system.safetensors_headers import Tensor

if TYPE_CHECKING:
    from stc.quantization import Quantizer

Layers = Mapping[Stack, int]

POSITIONS_A_SECOND = 50  # of the layers of an encoder like Whisper's
WIDTH = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Removals:
    """How many layers a ranking removes.

    Attributes:
        of: how many the stacks had.
        known: how many of each stack are removed.
        either: how many more are, of one stack or another, which only the search will tell.
    """

    of: Layers
    known: Layers
    either: int = 0

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Removals:
        """Those of a ranking that is there, by the facts of its record."""
        removal = Removal.from_facts(facts)
        return cls(removal.of, {stack: len(layers) for stack, layers in by_stack(removal.order).items()})

    def with_one_more(self) -> Removals:
        if len(self.of) > 1:
            return replace(self, either=self.either + 1)
        return replace(self, known={stack: self.known.get(stack, 0) + 1 for stack in self.of})

    def left(self) -> list[dict[Stack, int]]:
        """The layers that may be left, by stack; one item where that is known."""
        left = {stack: count - self.known.get(stack, 0) for stack, count in self.of.items()}
        if not self.either:
            return [left]
        first, second = left
        shares = range(self.either + 1)
        return [{first: left[first] - one, second: left[second] - (self.either - one)} for one in shares]


@dataclass(frozen=True)
class Adapters:
    """Low-rank adapters in a folder: how many parameters, in how many bytes of safetensors."""

    parameters: int
    weight_bytes: int

    @classmethod
    def of_folder(cls, folder: Path) -> Adapters:
        tensors = adapter_tensors(folder)
        return cls(sum(tensor.elements for tensor in tensors.values()), (folder / ADAPTER_WEIGHTS).stat().st_size)


@dataclass(frozen=True)
class States:
    """What an encoder makes of recordings, in about so many bytes."""

    weight_bytes: int


@dataclass(frozen=True)
class Layout:
    """A model.

    Attributes:
        config: its config.json, or that of the model it is made of.
        counts: parameters, and elements as they are stored.
        weight_bytes: of the safetensors files together.
        other_bytes: of config, tokenizer and the like, about.
        exact: whether the bytes are these to the last; they can differ by the digits of some numbers otherwise.
        largest: whether it is the largest of several that may come out.
        quantizer: the method its weights are packed by, or None.
    """

    family: Architecture
    config: Mapping[str, Any]
    layers: Layers
    counts: Counts
    weight_bytes: int
    other_bytes: int
    exact: bool = True
    largest: bool = False
    quantizer: type[Quantizer] | None = None

    @cached_property
    def weights(self) -> list[Weight]:
        return self.family.weights(self.config, self.layers)

    @cached_property
    def extent(self) -> Extent:
        return self.family.extent(self.config)

    @property
    def window_seconds(self) -> float:
        """The longest utterance it hears."""
        return self.extent.window / POSITIONS_A_SECOND

    @classmethod
    def of_folder(cls, folder: Path) -> Layout:
        """A model that is there.

        Raises:
            ModelError: the folder is no model, or a damaged one.
        """
        model = ModelFolder.of(folder)
        weights = model.weight_bytes
        return cls(
            model.family,
            model.config,
            model.family.layers(model.config),
            counted(model),
            weights,
            sum(file.stat().st_size for file in model.files) - weights,
            quantizer=model.quantizer,
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any], layers: Layers | None = None, other_bytes: int = 0) -> Layout:
        """A plain model as :func:`stc.models.checkpoint.save` writes it, in bfloat16."""
        family = architecture(config["model_type"])
        layers = family.layers(config) if layers is None else layers
        tensors = {one.name: Tensor("BF16", one.shape) for one in family.weights(config, layers)}
        return cls(family, config, layers, _counted(tensors), _bytes(family, tensors), other_bytes)

    def plain(self) -> Layout:
        """The same saved anew: weights in bfloat16, in shards of ours."""
        return replace(self.of_config(self.config, self.layers, self.other_bytes), largest=self.largest)

    def pruned(self, removals: Removals) -> Layout:
        """With the layers left that a ranking leaves, however many of them are gone already."""
        possible = [self.of_config(self.config, {**self.layers, **left}, self.other_bytes) for left in removals.left()]
        largest = max(possible, key=lambda layout: layout.weight_bytes)
        return replace(largest, largest=self.largest or len(possible) > 1)

    def packed(self, quantizer: Quantizer, compute_dtype: str) -> Layout:
        tensors: dict[str, Tensor] = {}
        state: dict[str, Tensor] = {}
        module = ""
        for one in self.weights:
            if one.name.rpartition(".")[0] != module:  # a layer's state comes after all of its weights
                tensors |= state
                module, state = one.name.rpartition(".")[0], {}
            if one.linear and one.part in quantizer.packed:
                state = quantizer.stored(one.name, one.shape, compute_dtype)
                tensors[one.name] = state.pop(one.name)
            else:
                tensors[one.name] = Tensor("BF16", one.shape)
        tensors |= state
        packed = sum(tensor.elements for name, tensor in tensors.items() if not quantizer.is_state(name))
        return replace(
            self,
            counts=Counts(sum(one.elements for one in self.weights), packed),
            weight_bytes=_bytes(self.family, tensors),
            exact=quantizer.exact_size,
            quantizer=type(quantizer),
        )

    def adapters(self, rank: int, parts: Iterable[Part]) -> Adapters:
        """Adapters of a rank on the linear layers of parts of it, as peft saves them, in bfloat16."""
        adapted = [one for one in self.weights if one.linear and one.part in parts]
        tensors = {name: tensor for one in adapted for name, tensor in _low_rank(one, rank).items()}
        return Adapters(sum(tensor.elements for tensor in tensors.values()), file_bytes(tensors))

    def states(self, seconds: float, dtype: str) -> States:
        """What its encoder makes of so much audio."""
        positions = round(seconds * POSITIONS_A_SECOND / self.family.encoder_pooling)
        return States(positions * self.extent.heard * WIDTH[dtype])

    def with_adapters(self, adapters: Adapters) -> Layout:
        """With the adapters kept beside it."""
        counts = self.counts
        return replace(
            self,
            counts=Counts(counts.parameters + adapters.parameters, counts.packed_elements + adapters.parameters),
            weight_bytes=self.weight_bytes + adapters.weight_bytes,
        )


def _low_rank(weight: Weight, rank: int) -> dict[str, Tensor]:
    name = f"base_model.model.{weight.name.removesuffix('.weight')}"
    outputs, inputs = weight.shape
    return {
        f"{name}.lora_A.weight": Tensor("BF16", (rank, inputs)),
        f"{name}.lora_B.weight": Tensor("BF16", (outputs, rank)),
    }


def _counted(tensors: Mapping[str, Tensor]) -> Counts:
    elements = sum(tensor.elements for tensor in tensors.values())
    return Counts(elements, elements)


def _bytes(family: Architecture, tensors: Mapping[str, Tensor]) -> int:
    """Of the files of a model whose tensors, named and in order as in the model, are saved in shards."""
    shards: list[dict[str, Tensor]] = [{}]
    room = SHARD_BYTES
    for name, tensor in tensors.items():
        if tensor.bytes > room and shards[-1]:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][family.stored_name(name)] = tensor
        room -= tensor.bytes
    return sum(file_bytes(shard) for shard in shards)

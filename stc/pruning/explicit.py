"""The layers that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stc.errors import Fault, InputError, field_error
from stc.models.architecture import Stack
from stc.models.layer_ranking import Layer, LayerCounts, Removal, removal_faults
from stc.models.layout import RemovalCounts
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import FilledSettings, PruningMethod
from stc.store.artifact import Kind


class Explicit(PruningMethod):
    """Remove the layers named, counted from 0.

    Attributes:
        ratio: follows from the layers. If it is given, it must agree with them.
        layers: of the decoder.
        encoder_layers: of the encoder.
    """

    ratio: float | None = Field(default=None, gt=0, lt=1)
    layers: tuple[int, ...] = ()
    encoder_layers: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.stacks:
            allowed = "the layers to remove must be named: prune.layers=[2,5], or prune.encoder_layers=[2]"
            raise field_error(Fault("layers", [], allowed))
        return self

    @property
    def stacks(self) -> tuple[Stack, ...]:
        named: dict[Stack, tuple[int, ...]] = {"decoder": self.layers, "encoder": self.encoder_layers}
        return tuple(stack for stack, layers in named.items() if layers)

    def fill_in(self, counts: Mapping[Stack, int]) -> FilledSettings:
        layers = _named_layers(self.layers, self.encoder_layers)
        keys: dict[Stack, str] = {"decoder": "layers", "encoder": "encoder_layers"}
        faults = [
            Fault(f"prune.{keys[stack]}", list(getattr(self, keys[stack])), message)
            for stack, message in removal_faults(layers, counts).items()
        ]
        total = sum(counts.values())
        ratio = len(layers) / total
        if self.ratio is not None and abs(self.ratio * total - len(layers)) > 0.01:
            allowed = f"must be {ratio:.4g}, the ratio of the named layers, or null, which means the same"
            faults.append(Fault("prune.ratio", self.ratio, allowed))
        return self._filled(counts, ratio, len(layers)), faults


class ExplicitLayers(LayerCounts, Stage):
    """Gives the layers that ``decoder`` and ``encoder`` name, counted from 0, as a ranking."""

    NAME: ClassVar[str] = "explicit_layers"
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.RANKING

    decoder: tuple[int, ...] = ()
    encoder: tuple[int, ...] = ()

    def forecast(self, inputs: Mapping[str, Any]) -> RemovalCounts:
        named: dict[Stack, int] = {"decoder": len(self.decoder), "encoder": len(self.encoder)}
        return RemovalCounts(self.of, {stack: named[stack] for stack in self.of})

    def activity(self, inputs: Inputs) -> str:
        return "taking the layers named"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        order = _named_layers(self.decoder, self.encoder)
        if faults := removal_faults(order, self.of):
            raise InputError("; ".join(faults.values()))
        return Removal(self.of, tuple(order)).save(out_dir, {"method": "explicit"})


def _named_layers(decoder: Sequence[int], encoder: Sequence[int]) -> list[Layer]:
    return [("decoder", layer) for layer in decoder] + [("encoder", layer) for layer in encoder]

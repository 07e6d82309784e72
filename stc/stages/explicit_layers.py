"""The layers a user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.errors import InputError
from stc.models.architecture import Stack
from stc.models.layout import Removals
from stc.models.removal import Counts, Layer, Removal, unremovable
from stc.pipeline.stage import Context, Inputs, Stage, Takes
from stc.store.artifact import Kind


class ExplicitLayers(Counts, Stage):
    """``decoder`` and ``encoder`` name layers, counted from 0."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {}
    GIVES: ClassVar[Kind] = Kind.RANKING

    decoder: tuple[int, ...] = ()
    encoder: tuple[int, ...] = ()

    def foresee(self, inputs: Mapping[str, Any]) -> Removals:
        named: dict[Stack, int] = {"decoder": len(self.decoder), "encoder": len(self.encoder)}
        return Removals(self.of, {stack: named[stack] for stack in self.of})

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        order: list[Layer] = [("decoder", layer) for layer in self.decoder]
        order += [("encoder", layer) for layer in self.encoder]
        if faults := unremovable(order, self.of):
            raise InputError("; ".join(faults.values()))
        return Removal(self.of, tuple(order)).save(out_dir, {"method": "explicit"})

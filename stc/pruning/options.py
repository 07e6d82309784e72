"""The group ``prune``: its schema, and what it comes to for the layers of a model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stc.errors import Fault, nearest
from stc.metrics.metric import names
from stc.metrics.selection import LOSS, SelectionMetric
from stc.models.architecture import Stack
from stc.models.removal import Layer, Scope, removable, stacks, unremovable
from stc.system.fields import Seed
from stc.training.recipe import Recipe

Method = Literal["greedy", "interleaved", "block_influence", "angular", "middle", "random", "explicit"]

SCREEN = 5  # what it is worth, and why this many: docs/results/screened.md

_KEYS: dict[str, tuple[str, ...]] = {
    "greedy": ("ratio", "scope", "metric", "search", "screen"),
    "interleaved": ("ratio", "scope", "metric", "search", "screen", "every", "between"),
    "block_influence": ("ratio", "scope"),
    "angular": ("ratio", "scope"),
    "middle": ("ratio", "scope"),
    "random": ("ratio", "scope", "seed"),
    "explicit": ("ratio", "layers", "encoder_layers"),
}
_FILLED_IN = ("method", "layers_removed", "of", "features", "heal_features", "dev_features")
_MAY_BE_NULL = ("screen",)
FEATURES = "features"  # the stage that hears the selection split for a search
HEAL_FEATURES, DEV_FEATURES = "heal_features", "dev_features"  # those that hear the other two for all healing


class Prune(BaseModel):
    """How layers are chosen, and how many. A key that the method has no use for is refused.

    Attributes:
        ratio: the fraction of the scope's layers that is removed; of explicit layers it follows from them.
        scope: the stacks layers are removed from.
        metric: what greedy rounds go by.
        search: whether they take it of every candidate, or of those that a screen by the loss has left.
        screen: how many that leaves; filled in for a screened search that does not say.
        every: how many layers are removed before the model is trained ``between`` two rounds.
        seed: of the drawing of random layers.
        layers: the decoder layers to remove, named explicitly; ``encoder_layers`` the same of the encoder.
        layers_removed: filled in: how many that is.
        of: filled in: how many layers each stack of the scope has.
        features: filled in: the stage that hears the audio for all rounds, where all have the same encoder.
        heal_features: filled in: the stage that hears the training audio for healing, where what is healed has the
            teacher's encoder; ``dev_features`` the same of the held-out audio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    ratio: float | None = Field(default=None, gt=0, lt=1)
    scope: Scope | None = None
    metric: SelectionMetric | None = None
    search: Literal["exact", "screened"] | None = None
    screen: int | None = Field(default=None, ge=2)
    every: int | None = Field(default=None, ge=1)
    between: Recipe | None = None
    seed: Seed | None = None
    layers: tuple[int, ...] = ()
    encoder_layers: tuple[int, ...] = ()
    layers_removed: None = None
    of: None = None
    features: None = None
    heal_features: None = None
    dev_features: None = None

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that layers are removed from."""
        if self.method == "explicit":
            named: dict[Stack, tuple[int, ...]] = {"decoder": self.layers, "encoder": self.encoder_layers}
            return tuple(stack for stack, layers in named.items() if layers)
        return stacks(self.scope or "decoder")

    def misplaced(self) -> list[Fault]:
        """A fault for every key that the method has no use for, and for every one it lacks."""
        keys = _KEYS[self.method]
        faults = [
            Fault(
                f"prune.{key}",
                getattr(self, key),
                f"prune={self.method} has no such key; its keys: {', '.join(keys)}{nearest(key, keys)}",
            )
            for key in sorted(self.model_fields_set - {*keys, *_FILLED_IN})
        ]
        needed = [] if self.method == "explicit" else [key for key in keys if key not in _MAY_BE_NULL]
        faults += [Fault(f"prune.{key}", None, "is needed") for key in needed if getattr(self, key) is None]
        if self.method == "explicit" and not self.stacks:
            faults.append(Fault("prune.layers", [], "the layers to remove are needed: prune.layers=[2,5], or of the "
                                "encoder prune.encoder_layers=[2]"))  # fmt: skip
        return [*faults, *(self._unscreened() if "screen" in keys else [])]

    def _unscreened(self) -> list[Fault]:
        """A fault where a screen is asked for and there is none."""
        if self.search == "screened" and self.metric == LOSS:
            allowed = f"the loss is what a screen goes by: prune.search=exact, or one of {', '.join(names())}"
            return [Fault("prune.metric", self.metric, allowed, others=(("prune.search", self.search),))]
        if self.search == "exact" and self.screen is not None:
            allowed = "prune.search=exact has no screen; prune.search=screened has"
            return [Fault("prune.screen", self.screen, allowed, others=(("prune.search", self.search),))]
        return []

    def counted(self, of: Mapping[Stack, int]) -> tuple[dict[str, Any], list[Fault]]:
        """What the group comes to.

        Args:
            of: how many layers each stack of the scope has.

        Returns:
            the ratio, and what is filled in; and the faults there are, in which case the rest means nothing.
        """
        total = sum(of.values())
        if self.method == "explicit":
            return self._named(of, total)
        assert self.ratio is not None
        room = len(removable(of))
        wanted = self.ratio * total
        removed = round(wanted)
        faults = []
        if abs(wanted - removed) > 0.01 or not 1 <= removed <= room:
            valid = ", ".join(f"{count / total:.4g}" for count in range(1, room + 1))
            named = " and ".join(f"{count} {stack}" for stack, count in of.items())
            allowed = f"must be a whole number of the {named} layers: {valid}"
            if not room:
                allowed = f"none of the {named} layers can be removed: the first and the last are protected"
            faults.append(Fault("prune.ratio", self.ratio, allowed))
        features = FEATURES if self.method in ("greedy", "interleaved") and self.scope == "decoder" else None
        filled_in = {
            "ratio": self.ratio,
            "layers_removed": removed,
            "of": dict(of),
            "features": features,
            **self._heard_by_healing(),
        }
        if self.search == "screened":
            filled_in["screen"] = self.screen or SCREEN
        return filled_in, faults

    def _named(self, of: Mapping[Stack, int], total: int) -> tuple[dict[str, Any], list[Fault]]:
        layers: list[Layer] = [("decoder", layer) for layer in self.layers]
        layers += [("encoder", layer) for layer in self.encoder_layers]
        keys: dict[Stack, str] = {"decoder": "layers", "encoder": "encoder_layers"}
        faults = [
            Fault(f"prune.{keys[stack]}", list(getattr(self, keys[stack])), message)
            for stack, message in unremovable(layers, of).items()
        ]
        ratio = len(layers) / total
        if self.ratio is not None and abs(self.ratio * total - len(layers)) > 0.01:
            allowed = f"must be {ratio:.4g}, that of the layers named, or null, which means the same"
            faults.append(Fault("prune.ratio", self.ratio, allowed))
        filled_in = {"ratio": ratio, "layers_removed": len(layers), "of": dict(of), **self._heard_by_healing()}
        return filled_in, faults

    def _heard_by_healing(self) -> dict[str, str | None]:
        trained = self.between is not None and "encoder" in self.between.parts
        another = trained or "encoder" in self.stacks
        return {name: None if another else name for name in (HEAL_FEATURES, DEV_FEATURES)}

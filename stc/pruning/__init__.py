"""The base classes of pruning methods: their settings, and the values filled in for a model. Imports no torch.

A method is a file of this package with the method's name, or a user's module by its dotted path. It defines the class
of the method's settings, and the stages that choose the layers. The member of the config group ``prune`` connects the
stages, under ``stages``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stc.errors import Fault
from stc.models.architecture import Stack
from stc.models.layer_ranking import STACKS, Scope, removable
from stc.system.extension_lookup import class_by_name, module_names

HEAL_FEATURES, DEV_FEATURES = "heal_features", "dev_features"  # the stages that encode the audio for all healing

FilledSettings = tuple[dict[str, Any], list[Fault]]
"""The values filled in for a model, and the faults found. If there are faults, the values mean nothing."""


class PruningMethod(BaseModel, ABC):
    """The settings of a method: how layers are chosen, and how many.

    Attributes:
        ratio: the fraction of the layers that is removed.
        layers_removed: filled in: the number of layers that is removed.
        of: filled in: the number of layers of each stack that layers are removed from.
        heal_features: filled in: the stage that encodes the training audio for healing, if the healed model has the
            teacher's encoder.
        dev_features: filled in: the same for the held-out audio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    ratio: float | None
    layers_removed: None = None
    of: None = None
    heal_features: None = None
    dev_features: None = None

    @property
    @abstractmethod
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that layers are removed from."""

    @property
    def trains_encoder(self) -> bool:
        """Return whether the encoder is trained between removals."""
        return False

    @abstractmethod
    def fill_in(self, counts: Mapping[Stack, int]) -> FilledSettings:
        """Return the values to fill in for a model whose stacks have these numbers of layers."""

    def _filled(self, counts: Mapping[Stack, int], ratio: float, removed: int) -> dict[str, Any]:
        other_encoder = self.trains_encoder or "encoder" in self.stacks
        features = {name: None if other_encoder else name for name in (HEAL_FEATURES, DEV_FEATURES)}
        return {"ratio": ratio, "layers_removed": removed, "of": dict(counts), **features}


class ByRatio(PruningMethod):
    """A method whose settings say how many layers to remove, and from which stacks."""

    ratio: float = Field(gt=0, lt=1)
    scope: Scope

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return STACKS if self.scope == "both" else (self.scope,)

    def fill_in(self, counts: Mapping[Stack, int]) -> FilledSettings:
        total, most = sum(counts.values()), len(removable(counts))
        exact = self.ratio * total
        removed = round(exact)
        faults = []
        if abs(exact - removed) > 0.01 or not 1 <= removed <= most:
            valid = ", ".join(f"{count / total:.4g}" for count in range(1, most + 1))
            named = " and ".join(f"{count} {stack}" for stack, count in counts.items())
            allowed = f"must be a whole number of the {named} layers: {valid}"
            if not most:
                allowed = f"none of the {named} layers can be removed: the first and the last are protected"
            faults.append(Fault("prune.ratio", self.ratio, allowed))
        return self._filled(counts, self.ratio, removed), faults


def methods() -> list[str]:
    """Return the names of the built-in methods: the files of this package."""
    return module_names("stc.pruning")


def method_class(settings: Mapping[str, Any]) -> type[PruningMethod]:
    """Return the class of the settings that a config has under ``prune``.

    Raises:
        ConfigError: there is no such method.
    """
    return class_by_name("stc.pruning", settings.get("method"), PruningMethod, "prune.method")  # type: ignore[type-abstract]

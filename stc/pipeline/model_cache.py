"""A cache of one loaded model, for stages that read the same model one after the other, as the rounds of a search do.

The runner empties the cache before a stage that does not use it (``Stage.KEEPS_MODEL``), so that the model takes no
memory that the stage needs. What else such stages have loaded is freed then, too (``free_with_model``). What an encoder
made of recordings is kept beside it, for stages that hear the same recordings with the same encoder
(``Stage.KEEPS_STATES``). This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stc.models.compute_options import Compute
from stc.store.artifact import Artifact

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator
    from stc.pipeline.stage import Stage

cached: dict[tuple[str, ...], Translator] = {}


def cached_model(artifact: Artifact, compute: Compute, device: str) -> Translator:
    """Return a model from the cache, or load it. The caller must leave the model as it is."""
    key = (artifact.identity, str(artifact.path), compute.dtype, compute.attention, device)
    if key not in cached:
        _free_model()
        loaded = compute.load_model(artifact.path, device)
        loaded.model.requires_grad_(False)
        cached[key] = loaded
    return cached[key]


free_with_model: list[Callable[[], None]] = []
"""Functions that free what else is kept between such stages."""


states: dict[tuple[str, ...], Any] = {}
"""The states that one encoder gave for recordings. The key identifies the encoder (:mod:`stc.decoding.features`)."""


def clear_before(stage: Stage) -> None:
    """Free what a stage does not use."""
    if not stage.KEEPS_MODEL:
        _free_model()
    if not stage.KEEPS_STATES:
        states.clear()


def clear() -> None:
    """Free everything."""
    _free_model()
    states.clear()


def _free_model() -> None:
    cached.clear()
    for free in free_with_model:
        free()

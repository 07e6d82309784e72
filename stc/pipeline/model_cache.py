"""The model that one stage has loaded and the next one reads again, as the rounds of a search do: not loaded anew.

At most one is kept, and none beside a stage that does not ask for it (``Stage.KEEPS_MODEL``), so that it takes no
memory which another one needs. Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stc.models.options import Compute
from stc.store.artifact import Artifact

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

_kept: dict[tuple[str, ...], Translator] = {}


def kept(artifact: Artifact, compute: Compute, device: str) -> Translator:
    """A model to be left as it is found: the one that is kept, or loaded and kept from now on.

    Args:
        compute: how it computes.
    """
    from stc.models.checkpoint import load

    key = (artifact.identity, str(artifact.path), compute.dtype, compute.attention, device)
    if key not in _kept:
        put_away()
        loaded = load(artifact.path, device=device, dtype=compute.dtype, attention=compute.attention)
        loaded.model.requires_grad_(False)
        _kept[key] = loaded
    return _kept[key]


def put_away() -> None:
    """Keep no model from now on."""
    _kept.clear()

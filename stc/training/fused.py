"""Decoder layers compiled for as long as they are trained: norms, rotations, gates and casts between the matrix
products become few kernels, forward and backward.

All layers share one compiled program, whatever the number of utterances and their lengths. Those of the encoder are
left as they are: compiled by torch 2.13 for the CPU, a layer norm that is not trained, between adapters, gave a wrong
gradient for a batch of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from stc.stage import OrAuto

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

WORTH = 1000  # steps: at half a step's time saved, about what compiling costs


@contextmanager
def fused(translator: Translator, wanted: OrAuto, steps: int) -> Iterator[None]:
    """Inside, the layers of the decoder are compiled.

    Args:
        wanted: ``auto``: on a GPU, for a training of at least :data:`WORTH` steps, of a model that is not packed.
            Layers of bitsandbytes bring kernels of their own.
    """
    decoder = translator.architecture.decoder(translator.model)
    plain = not any(type(module).__module__.startswith("bitsandbytes") for module in decoder.modules())
    if not wanted or (wanted == "auto" and not (translator.model.device.type == "cuda" and steps >= WORTH and plain)):
        yield
        return
    try:
        for layer in decoder.layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        yield
    finally:
        for layer in decoder.layers:
            layer.__dict__.pop("forward", None)

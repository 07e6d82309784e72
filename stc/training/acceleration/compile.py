"""Layers compiled for as long as they are trained: norms, rotations, gates and casts between the matrix products become
few kernels, forward and backward.

The layers of a stack share one compiled program, whatever the number of utterances and their lengths, and on a GPU they
are replayed as one (``cuda_graphs.py``) where the host's launches hold a step, that is with adapters. On the CPU those
of the encoder are left as they are: compiled by torch 2.13, a layer norm that is not trained, between adapters, gives a
wrong gradient there for a batch of one. On a GPU it does not, which a test looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from stc.models.parts import part_parameters
from stc.pipeline.stage import OrAuto
from stc.quantization import has_packed
from stc.training.acceleration.cuda_graphs import replayed

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

# With a gradient or without, in train or in eval mode, masked or not, for one utterance or several.
PROGRAMS = 32
WORTH = 1000  # steps: at half a step's time saved, about what compiling costs


@contextmanager
def fused(translator: Translator, wanted: OrAuto, steps: int, *, replay: bool = False) -> Iterator[None]:
    """Inside, the layers of the decoder are compiled, and on a GPU those of an encoder that is trained.

    Args:
        wanted: ``auto``: on a GPU, for a training of at least :data:`WORTH` steps, of a model that is not packed.
            Packed layers bring kernels of their own.
        replay: on a GPU, also record what they do (``cuda_graphs.py``), where nothing compares the states between them
            or has them computed again.
    """
    architecture, model = translator.architecture, translator.model
    on_gpu = model.device.type == "cuda"
    stacks = [(list(architecture.layers_of(model, "decoder")), True)]
    if on_gpu and "encoder" in architecture.stacks and next(part_parameters(translator, ["encoder"]), None) is not None:
        stacks.append((list(architecture.layers_of(model, "encoder")), False))
        replay = replay and not getattr(architecture.stack(model, "encoder"), "layerdrop", 0)
    layers = [layer for stack, _ in stacks for layer in stack]
    plain = not has_packed(model, layers)
    if not wanted or (wanted == "auto" and not (on_gpu and steps >= WORTH and plain)):
        yield
        return
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        with ExitStack() as inside:
            inside.enter_context(torch._dynamo.config.patch(recompile_limit=PROGRAMS))
            # What is replayed gives all layers of a stack one mask.
            if on_gpu and replay and plain and not translator.beyond_engines:
                for stack, causal in stacks:
                    inside.enter_context(replayed(stack, causal=causal))
            yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)

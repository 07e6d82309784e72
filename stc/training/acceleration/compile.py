"""Compile the layers that a training goes through: norms, rotations, gates and casts between the matrix products become
few kernels, forward and backward.

The layers of a stack share one compiled program, whatever the number of utterances and their lengths. They are replayed
as one (``cuda_graphs.py``) where the host's launches hold a step, that is with adapters.

Only on a GPU: on a CPU, torch 2.13's compiler gives wrong gradients. On a processor with AVX2 and without AVX512, the
backward pass of attention gives NaN; and a layer norm that is not trained, between adapters, is wrong for a batch of
one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from stc.models.parts import part_parameters
from stc.pipeline.stage import BoolOrAuto
from stc.quantization import has_packed
from stc.training.acceleration.cuda_graphs import cuda_graph_layers

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

log = logging.getLogger(__name__)

# With a gradient or without, in train or in eval mode, masked or not, for one utterance or several.
PROGRAMS = 32
WORTH = 1000  # steps: at half a step's time saved, about what compiling costs


@contextmanager
def compiled_layers(translator: Translator, wanted: BoolOrAuto, steps: int, *, replay: bool = False) -> Iterator[None]:
    """Compile, inside the block, the layers of the decoder, and those of an encoder that is trained.

    On a CPU nothing is compiled.

    Args:
        wanted: ``auto``: for a training of at least :data:`WORTH` steps, of a model that is not packed.
            Packed layers bring kernels of their own.
        replay: also record what they do (``cuda_graphs.py``), where nothing compares the states between them
            or has them computed again.
    """
    architecture, model = translator.architecture, translator.model
    stacks = [(list(architecture.layers_of(model, "decoder")), True)]
    if "encoder" in architecture.stacks and next(part_parameters(translator, ["encoder"]), None) is not None:
        stacks.append((list(architecture.layers_of(model, "encoder")), False))
        replay = replay and not getattr(architecture.stack(model, "encoder"), "layerdrop", 0)
    layers = [layer for stack, _ in stacks for layer in stack]
    plain = not has_packed(model, layers)
    on_gpu = model.device.type == "cuda"
    if wanted is True and not on_gpu:
        log.warning("resources.compile=true is for a GPU: on a CPU the layers are not compiled")
    if not wanted or not on_gpu or (wanted == "auto" and not (steps >= WORTH and plain)):
        yield
        return
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        with ExitStack() as inside:
            inside.enter_context(torch._dynamo.config.patch(recompile_limit=PROGRAMS))
            # What is replayed gives all layers of a stack one mask.
            if replay and plain and not translator.unsupported_by_engines:
                for stack, causal in stacks:
                    inside.enter_context(cuda_graph_layers(stack, causal=causal))
            yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)

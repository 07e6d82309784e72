"""Compiled layers for training: norms, rotations, gates and casts between the matrix products become few kernels.

The layers of a stack share one compiled program, whatever the number of utterances and their lengths. With adapters,
where launching kernels takes most of a step, the layers are also recorded as CUDA graphs (``cuda_graphs.py``).

Layers are compiled only on a GPU: on a CPU, torch 2.13's compiler gives wrong gradients. On a processor with AVX2 and
without AVX512, the backward pass of attention gives NaN. A layer norm that is not trained, between adapters, is wrong
for a batch of one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from stc.models.parts import part_parameters
from stc.pipeline.stage import BoolOrAuto
from stc.quantization import has_packed_layers
from stc.training.acceleration.cuda_graphs import cuda_graph_layers

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

log = logging.getLogger(__name__)

# With or without gradient, in train or eval mode, with or without mask, for one utterance or several.
PROGRAMS = 32
MIN_STEPS = 1000  # if compiling saves half of a step, this many steps save about the time it takes


@contextmanager
def compiled_layers(translator: Translator, enabled: BoolOrAuto, steps: int, *, replay: bool = False) -> Iterator[None]:
    """Compile the layers of the decoder, and those of an encoder that is trained, inside the block.

    On a CPU nothing is compiled.

    Args:
        enabled: ``auto`` means: for a training of at least :data:`MIN_STEPS` steps, of a model that is not quantized.
            Quantized layers have their own kernels.
        replay: whether to record the layers as CUDA graphs too. Not for a training that compares the states between
            layers or uses gradient checkpointing.
    """
    architecture, model = translator.architecture, translator.model
    stacks = [(list(architecture.layers_of(model, "decoder")), True)]
    if "encoder" in architecture.stacks and next(part_parameters(translator, ["encoder"]), None) is not None:
        stacks.append((list(architecture.layers_of(model, "encoder")), False))
        replay = replay and not getattr(architecture.stack(model, "encoder"), "layerdrop", 0)
    layers = [layer for stack, _ in stacks for layer in stack]
    plain = not has_packed_layers(model, layers)
    on_gpu = model.device.type == "cuda"
    if enabled is True and not on_gpu:
        log.warning("resources.compile=true is for a GPU: on a CPU the layers are not compiled")
    if not enabled or not on_gpu or (enabled == "auto" and not (steps >= MIN_STEPS and plain)):
        yield
        return
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        with ExitStack() as stack_contexts:
            stack_contexts.enter_context(torch._dynamo.config.patch(recompile_limit=PROGRAMS))
            # CUDA graphs give all layers of a stack the same mask.
            if replay and plain and not translator.unsupported_by_engines:
                for stack, causal in stacks:
                    stack_contexts.enter_context(cuda_graph_layers(stack, causal=causal))
            yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)

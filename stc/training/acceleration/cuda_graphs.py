"""The layers of a stack as CUDA graphs: one for the forward and one for the backward pass, for each shape of batch.

A step through adapters has thousands of small kernels, and the host takes longer to launch them than the GPU to compute
them. A shape is recorded when it comes for the second time, and replayed for each further batch of the shape. To have
few shapes, sequences are padded to a multiple of :data:`MULTIPLE` positions. No gradient depends on the padding.

The recordings of a stack share their memory, but other shapes cannot use it: a training may take twice as much memory
for activations. If memory runs out, the training continues without recordings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils import _pytree as pytree

from stc.system.memory import releasable_memory

LOG = logging.getLogger(__name__)
MULTIPLE = 32  # positions
MAX_RECORDINGS = 64  # of a stack; each keeps some ten thousand launches

Run = Callable[[Sequence[Tensor]], Tensor]


@contextmanager
def cuda_graph_layers(layers: Sequence[Any], *, causal: bool) -> Iterator[None]:
    """Replay layers in train mode inside the block.

    The layers must be called one after the other, each with the output of the one before it, and all with the same
    further arguments. The first call returns the output of all layers, and the other calls pass it on.

    Args:
        layers: on a GPU. They may be compiled before.
        causal: whether a position does not see those after it if no mask is given.
    """
    stack = GraphedStack(layers, causal)
    own = [layer.__dict__.get("forward") for layer in layers]
    try:
        for index, layer in enumerate(layers):
            layer.forward = partial(stack.pass_on, index) if index else stack.run_all
        with releasable_memory(stack.give_back):
            yield
    finally:
        stack.forget()
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


class GraphedStack:
    """The layers of a stack and their recordings.

    Attributes:
        trained: the parameters that are trained.
        copies: parameters in the same memory, which the recordings use. PyTorch ties a parameter to the stream of a
            pass that has used it and may still go backward, and a recording is made on its own stream.
        gradients: for each trained parameter, the tensor that recordings add its gradient to.
        memory: the pool in which recordings keep activations, and the stream they are made on, which they need to share
            the pool; None without a GPU.
        replays: the number of replayed forward passes. Each overwrites the activations of the one before.
    """

    def __init__(self, layers: Sequence[Any], causal: bool) -> None:
        self._places = [
            (module, name)
            for layer in layers
            for module in layer.modules()
            for name, weight in module.named_parameters(recurse=False)
            if weight.requires_grad
        ]
        self.trained: list[nn.Parameter] = [getattr(module, name) for module, name in self._places]
        self.copies = [nn.Parameter(weight.detach()) for weight in self.trained]
        self.gradients = [torch.zeros_like(weight) for weight in self.trained]
        self.memory = (torch.cuda.graph_pool_handle(), torch.cuda.Stream()) if torch.cuda.is_available() else None
        self.replays = 0
        self._layers = layers
        self._forwards = [layer.forward for layer in layers]
        self._causal = causal
        self._recordings: dict[Hashable, GraphRecording] = {}
        self._seen: set[Hashable] = set()
        self._memory_suffices = True
        self._all_done = False  # whether the batch has gone through all layers in the call of the first
        # A backward pass reaches an operation only if one of its inputs requires a gradient. The inputs of the first
        # trained layer do not.
        self._requires_gradient = torch.empty(0, requires_grad=True)

    def run_all(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run all layers. This replaces the first layer's forward."""
        learns = bool(self.trained) or hidden.requires_grad
        self._all_done = torch.is_grad_enabled() and self._layers[0].training and learns
        if not self._all_done:
            return self._forwards[0](hidden, *args, **kwargs)
        leaves, structure = pytree.tree_flatten((hidden, args, kwargs))
        at = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        tensors = [leaves[index] for index in at]
        others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        kind = hidden.device.type
        dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

        def run(tensors: Sequence[Tensor]) -> Tensor:
            given = list(others)
            for index, tensor in zip(at, tensors, strict=True):
                given[index] = tensor
            through, args, kwargs = pytree.tree_unflatten(given, structure)
            # Autocast must keep no copies of weights: a replay would use them after the weights have changed.
            with torch.autocast(kind, dtype, enabled, cache_enabled=False):
                for forward in self._forwards:
                    through = forward(through, *args, **kwargs)
            return through

        length = hidden.shape[1]
        if not all(_can_pad(tensor, length) for tensor in tensors) or any(one.requires_grad for one in tensors[1:]):
            return run(tensors)
        padding = -length % MULTIPLE if self._causal or any(map(_is_mask, tensors)) else 0
        padded = [_pad(tensor, padding) for tensor in tensors]
        cast_to = dtype if enabled else None
        recording = self._recording(run, padded, (cast_to, str(structure), repr(others), *at))
        if recording is None:
            return run(padded)[:, :length]
        return _Replay.apply(self, recording, self._requires_gradient, *padded)[:, :length]

    def pass_on(self, index: int, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the output of all layers, if the first has run them. This replaces the forward of a later layer."""
        return hidden if self._all_done else self._forwards[index](hidden, *args, **kwargs)

    @contextmanager
    def use_copies(self) -> Iterator[None]:
        """Use the copies as the layers' parameters inside the block."""
        try:
            for (module, name), copy in zip(self._places, self.copies, strict=True):
                setattr(module, name, copy)
            yield
        finally:
            for (module, name), weight in zip(self._places, self.trained, strict=True):
                setattr(module, name, weight)

    def give_back(self) -> bool:
        """Free the recordings and make no more. Return whether there were any."""
        if not self._recordings:
            return False
        LOG.warning(
            "no memory for a batch beside the recorded CUDA graphs: layers are launched one by one from here on"
        )
        self.forget()
        self._memory_suffices = False
        return True

    def forget(self) -> None:
        """Free the memory of all recordings."""
        for recording in self._recordings.values():
            vars(recording).clear()  # a pass that may still go backward holds the recording itself
        self._recordings.clear()

    def collect(self) -> None:
        """Move every parameter's gradient to the tensor that recordings add to."""
        new = []
        for weight, gradient in zip(self.trained, self.gradients, strict=True):
            if weight.grad is gradient:
                continue
            if weight.grad is None:
                new.append(gradient)
            else:
                gradient.copy_(weight.grad)
            weight.grad = gradient
        if new:
            torch._foreach_zero_(new)

    def _recording(self, run: Run, tensors: Sequence[Tensor], rest: Hashable) -> GraphRecording | None:
        """Return the recording for the tensors' shapes; None if the shapes are new or there is no memory."""
        shape = (rest, *((one.shape, one.dtype, one.requires_grad) for one in tensors))
        if shape not in self._seen:
            self._seen.add(shape)
        elif shape not in self._recordings and self._memory_suffices and len(self._recordings) < MAX_RECORDINGS:
            try:
                self._recordings[shape] = GraphRecording(self, run, tensors)
            except torch.OutOfMemoryError:
                self._memory_suffices = False
                LOG.warning(
                    "no memory to record CUDA graphs for further batch shapes: their layers are launched one by one"
                )
        return self._recordings.get(shape)


class GraphRecording:
    """The two CUDA graphs for inputs of certain shapes. A graph reads and writes always the same memory."""

    def __init__(self, stack: GraphedStack, run: Run, tensors: Sequence[Tensor]) -> None:
        self._stack = stack
        self._run = run
        self._inputs = [one.detach().clone().requires_grad_(one.requires_grad) for one in tensors]
        self._wanted = [*stack.copies, *(one for one in self._inputs[:1] if one.requires_grad)]
        self._gradient: Tensor | None = None  # of the output
        self._forward, self._backward = record_graphs(self._forward_pass, self._backward_pass, stack.memory)

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the layers' output for tensors of these shapes."""
        for own, tensor in zip(self._inputs, tensors, strict=True):
            own.detach().copy_(tensor)
        self._forward()
        return self._output.detach()

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Add to the parameters' gradients, and return the gradient of the input if it requires one."""
        assert self._gradient is not None
        self._stack.collect()
        self._gradient.copy_(gradient)
        self._backward()
        return self._input_gradient

    def _forward_pass(self) -> None:
        with torch.enable_grad(), self._stack.use_copies():
            self._output = self._run(self._inputs)

    def _backward_pass(self) -> None:
        if self._gradient is None:  # in the warm-up pass: a zero gradient adds nothing to those of the parameters
            self._gradient = torch.zeros_like(self._output)
        found = torch.autograd.grad(self._output, self._wanted, self._gradient)
        trained = len(self._stack.trained)
        self._input_gradient = found[trained] if len(found) > trained else None
        if trained:
            torch._foreach_add_(self._stack.gradients, found[:trained])


def record_graphs(forward: Callable[[], None], backward: Callable[[], None], memory: Any) -> list[Callable[[], None]]:
    """Record two functions as CUDA graphs in the ``memory`` of a stack, and return the functions that replay them."""
    pool, stream = memory
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a warm-up: compiling and the plans of libraries cannot be recorded
        forward()
        backward()
    torch.cuda.current_stream().wait_stream(stream)
    graphs = []
    for function in (forward, backward):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            function()
        graphs.append(graph.replay)
    return graphs


class _Replay(torch.autograd.Function):
    """A replay of a recording as an operation with a backward pass."""

    @staticmethod
    def forward(
        ctx: Any, stack: GraphedStack, recording: GraphRecording, requires_gradient: Tensor, *tensors: Tensor
    ) -> Tensor:
        stack.replays += 1
        ctx.stack, ctx.recording, ctx.number = stack, recording, stack.replays
        return recording.forward(tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.number != ctx.stack.replays:
            raise RuntimeError(
                "the backward pass came after another batch's forward pass, which has overwritten the activations"
            )
        found = ctx.recording.backward(gradient)
        return None, None, None, found, *[None] * (len(ctx.needs_input_grad) - 4)


def _is_mask(tensor: Tensor) -> bool:
    """Return whether a tensor is an attention mask (utterances, 1 or heads, positions, positions)."""
    return tensor.dtype == torch.bool and tensor.ndim == 4


def _can_pad(tensor: Tensor, length: int) -> bool:
    """Return whether a tensor is a mask or has the positions in its second dimension."""
    if _is_mask(tensor):
        return tensor.shape[2:] == (length, length)
    return tensor.ndim in (2, 3) and tensor.shape[1] == length


def _pad(tensor: Tensor, count: int) -> Tensor:
    """Add positions to a tensor (utterances, positions, …) or a mask. In a mask the new positions see only themselves:
    attention to no position at all is not defined."""
    if not count:
        return tensor
    if not _is_mask(tensor):
        return functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, count))
    padded = functional.pad(tensor, (0, count, 0, count))
    padded.diagonal(dim1=2, dim2=3)[..., -count:] = True
    return padded

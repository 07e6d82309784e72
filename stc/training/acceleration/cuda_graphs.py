"""Layers launched as one: what a stack of them does with batches of one shape, forward and backward, is recorded as two
CUDA graphs, and replayed for each further batch of the shape.

A step through adapters is thousands of small kernels, and the host takes longer to launch them one by one than the GPU
to compute them. A shape is recorded when it comes for the second time. Sequences are filled up to a multiple of
:data:`MULTIPLE` positions, so that shapes are few; no gradient depends on what they are filled up with.

The recordings of a stack share their memory, which is not there for shapes that are not recorded: a training may take
twice as much for activations. Where that is too much, it goes on without recordings.
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
MOST = 64  # recordings of a stack; each is some ten thousand launches that are kept

Run = Callable[[Sequence[Tensor]], Tensor]


@contextmanager
def cuda_graph_layers(layers: Sequence[Any], *, causal: bool) -> Iterator[None]:
    """Inside, layers in train mode are replayed. They have to be called one after the other, each with the output of
    the one before it and all with the same further arguments. The first gives the output of all, and so do the others.

    Args:
        layers: on a GPU, as they compute when this is entered; compiled, for instance.
        causal: whether a position sees none of those after it where no mask is given.
    """
    stack = Stack(layers, causal)
    own = [layer.__dict__.get("forward") for layer in layers]
    try:
        for index, layer in enumerate(layers):
            layer.forward = partial(stack.later, index) if index else stack.first
        with releasable_memory(stack.give_back):
            yield
    finally:
        stack.forget()
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


class Stack:
    """Layers, and what is recorded of them.

    Attributes:
        trained: their parameters that are.
        copies: parameters in the same memory, which are recorded. PyTorch ties a parameter to the stream of a pass that
            has used it and is still remembered, and a recording is made on a stream of its own.
        gradients: where recordings add to the gradient of each.
        memory: a pool that recordings keep activations in, and the stream they are made on, without which they could
            not share it; None without a GPU.
        replays: how many forward passes have been replayed. Each overwrites the activations of the one before.
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
        self._recordings: dict[Hashable, Recording] = {}
        self._seen: set[Hashable] = set()
        self._memory_suffices = True
        self._passed = False  # whether the batch has gone through all layers with the first
        # A backward pass comes to an operation only if one of its inputs wants a gradient, which those of the first
        # trained layers do not.
        self._wants_gradient = torch.empty(0, requires_grad=True)

    def first(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """In place of the first layer: all of them."""
        learns = bool(self.trained) or hidden.requires_grad
        self._passed = torch.is_grad_enabled() and self._layers[0].training and learns
        if not self._passed:
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
            # A copy of a weight that autocast kept would be replayed, where the weight has changed.
            with torch.autocast(kind, dtype, enabled, cache_enabled=False):
                for forward in self._forwards:
                    through = forward(through, *args, **kwargs)
            return through

        length = hidden.shape[1]
        if not all(_known(tensor, length) for tensor in tensors) or any(one.requires_grad for one in tensors[1:]):
            return run(tensors)
        more = -length % MULTIPLE if self._causal or any(map(_masks, tensors)) else 0
        filled = [_filled(tensor, more) for tensor in tensors]
        recording = self._recording(run, filled, (dtype, enabled, str(structure), repr(others), *at))
        if recording is None:
            return run(filled)[:, :length]
        return _Replay.apply(self, recording, self._wants_gradient, *filled)[:, :length]

    def later(self, index: int, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer after it."""
        return hidden if self._passed else self._forwards[index](hidden, *args, **kwargs)

    @contextmanager
    def copied(self) -> Iterator[None]:
        """Inside, the layers have the copies for parameters."""
        try:
            for (module, name), copy in zip(self._places, self.copies, strict=True):
                setattr(module, name, copy)
            yield
        finally:
            for (module, name), weight in zip(self._places, self.trained, strict=True):
                setattr(module, name, weight)

    def give_back(self) -> bool:
        """Do without recordings from here on, of which there may be none."""
        if not self._recordings:
            return False
        LOG.warning("no memory for a batch beside what has been recorded: layers are launched one by one from here on")
        self.forget()
        self._memory_suffices = False
        return True

    def forget(self) -> None:
        """Give the memory of all recordings back."""
        for recording in self._recordings.values():
            vars(recording).clear()  # a pass that is still remembered may hold the recording itself
        self._recordings.clear()

    def collect(self) -> None:
        """Have every parameter's gradient where recordings add to it, with what it is so far."""
        new = []
        for weight, place in zip(self.trained, self.gradients, strict=True):
            if weight.grad is place:
                continue
            if weight.grad is None:
                new.append(place)
            else:
                place.copy_(weight.grad)
            weight.grad = place
        if new:
            torch._foreach_zero_(new)

    def _recording(self, run: Run, tensors: Sequence[Tensor], rest: Hashable) -> Recording | None:
        """That of the tensors' shapes; None where they are new, or where there is no memory."""
        shape = (rest, *((one.shape, one.dtype, one.requires_grad) for one in tensors))
        if shape not in self._seen:
            self._seen.add(shape)
        elif shape not in self._recordings and self._memory_suffices and len(self._recordings) < MOST:
            try:
                self._recordings[shape] = Recording(self, run, tensors)
            except torch.OutOfMemoryError:
                self._memory_suffices = False
                LOG.warning("no memory to record further shapes of batches: their layers are launched one by one")
        return self._recordings.get(shape)


class Recording:
    """Of tensors of some shapes, which have their places in memory."""

    def __init__(self, stack: Stack, run: Run, tensors: Sequence[Tensor]) -> None:
        self._stack = stack
        self._run = run
        self._inputs = [one.detach().clone().requires_grad_(one.requires_grad) for one in tensors]
        self._wanted = [*stack.copies, *(one for one in self._inputs[:1] if one.requires_grad)]
        self._gradient: Tensor | None = None  # of the output
        self._forward, self._backward = recorded(self._forward_pass, self._backward_pass, stack.memory)

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """The layers' output for tensors of these shapes."""
        for place, tensor in zip(self._inputs, tensors, strict=True):
            place.detach().copy_(tensor)
        self._forward()
        return self._output.detach()

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Add to the parameters' gradients by that of the output. Returns that of the input, if it wants one."""
        assert self._gradient is not None
        self._stack.collect()
        self._gradient.copy_(gradient)
        self._backward()
        return self._input_gradient

    def _forward_pass(self) -> None:
        with torch.enable_grad(), self._stack.copied():
            self._output = self._run(self._inputs)

    def _backward_pass(self) -> None:
        if self._gradient is None:  # in the rehearsal, which adds nothing to the parameters' gradients by it
            self._gradient = torch.zeros_like(self._output)
        found = torch.autograd.grad(self._output, self._wanted, self._gradient)
        trained = len(self._stack.trained)
        self._input_gradient = found[trained] if len(found) > trained else None
        if trained:
            torch._foreach_add_(self._stack.gradients, found[:trained])


def recorded(forward: Callable[[], None], backward: Callable[[], None], memory: Any) -> list[Callable[[], None]]:
    """Two functions as CUDA graphs, in the ``memory`` of a stack: what has their work done again."""
    pool, stream = memory
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles, and has libraries plan what they cannot plan while they are recorded
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
    """A recording as an operation that the backward pass goes through."""

    @staticmethod
    def forward(ctx: Any, stack: Stack, recording: Recording, wants_gradient: Tensor, *tensors: Tensor) -> Tensor:
        stack.replays += 1
        ctx.stack, ctx.recording, ctx.number = stack, recording, stack.replays
        return recording.forward(tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.number != ctx.stack.replays:
            raise RuntimeError("a backward pass after another batch's forward pass: its activations are gone")
        found = ctx.recording.backward(gradient)
        return None, None, None, found, *[None] * (len(ctx.needs_input_grad) - 4)


def _masks(tensor: Tensor) -> bool:
    """Whether it says which positions see which: (utterances, 1 or heads, positions, positions)."""
    return tensor.dtype == torch.bool and tensor.ndim == 4


def _known(tensor: Tensor, length: int) -> bool:
    """Whether it is of a kind that can be filled up: a mask, or positions in its second dimension."""
    if _masks(tensor):
        return tensor.shape[2:] == (length, length)
    return tensor.ndim in (2, 3) and tensor.shape[1] == length


def _filled(tensor: Tensor, more: int) -> Tensor:
    """With so many more positions: of (utterances, positions, …), or of a mask, where they see themselves only, since
    attention to nothing has no value."""
    if not more:
        return tensor
    if not _masks(tensor):
        return functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, more))
    wide = functional.pad(tensor, (0, more, 0, more))
    wide.diagonal(dim1=2, dim2=3)[..., -more:] = True
    return wide

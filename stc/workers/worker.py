"""The processes that share a stage's work, as one of them sees them. A process by itself is a group of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch._utils import _flatten_dense_tensors, _take_tensors, _unflatten_dense_tensors

from stc.errors import StcError
from stc.system.memory import out_of_memory

T = TypeVar("T")

TIMEOUT = timedelta(hours=2)  # for the slowest: the first may be writing a checkpoint of 100 GB
BUCKET_BYTES = 64 * 2**20  # of gradients that are sent together: small ones by themselves would wait for each other


@dataclass(frozen=True)
class WorkerGroup:
    """This process is number ``rank``, counted from 0, of ``size`` processes."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Return whether this process writes down what all of them have found."""
        return self.rank == 0

    def share_of(self, items: Sequence[T]) -> Sequence[T]:
        """Return every ``size``-th item. If cost grows along the items, each process gets cheap and expensive ones."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """Return the value of each process, by rank."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def mean_loss(self, parameters: Sequence[nn.Parameter], compute: Callable[[], tuple[Tensor, int]]) -> Tensor:
        """Return the mean loss per token over all processes. Its gradient is then in ``.grad``.

        Args:
            compute: returns the mean loss per token of this process's share and how many tokens the share has, and
                leaves the gradient in ``.grad``.

        Raises:
            torch.OutOfMemoryError: memory ran out in one process. It is then raised in all of them.
        """
        if self.size == 1:
            return compute()[0]
        try:
            loss, tokens = compute()
            without = {number for number, one in enumerate(parameters) if one.grad is None}
            reports = self.gather(("", tokens, without))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            reports = self.gather((str(error), 0, set()))
        if failures := [message for message, _, _ in reports if message]:
            raise torch.OutOfMemoryError(failures[0])
        weight = tokens / sum(count for _, count, _ in reports)
        unused = set.intersection(*(without for _, _, without in reports))  # in no process: the optimizer skips them
        used = [one for number, one in enumerate(parameters) if number not in unused]
        try:
            total = loss.detach() * weight
            distributed.all_reduce(total)
            _sum_gradients(used, weight)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            # The others are past the point where a smaller micro-batch could be tried.
            raise StcError(f"out of memory for adding up the gradients of {self.size} processes: {error}") from error
        return total


def current_group() -> WorkerGroup:
    if distributed.is_available() and distributed.is_initialized():
        return WorkerGroup(distributed.get_rank(), distributed.get_world_size())
    return WorkerGroup(0, 1)


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun has started, inside the block. GPUs communicate by NCCL, CPUs by gloo."""
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    # A process that is done at once must not be gone while another is still connecting to it.
    current_group().gather(None)
    yield
    distributed.destroy_process_group()


def _sum_gradients(parameters: Sequence[nn.Parameter], weight: float) -> None:
    """Replace each gradient by the sum over all processes of the gradient times the process's weight."""
    for parameter in parameters:
        if parameter.grad is None:  # this process had no example for it; the others had
            parameter.grad = torch.zeros_like(parameter)
    for gradients in _take_tensors([parameter.grad for parameter in parameters], BUCKET_BYTES):
        flat = _flatten_dense_tensors(gradients)
        flat *= weight
        distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, _unflatten_dense_tensors(flat, gradients), strict=True):
            gradient.copy_(summed)

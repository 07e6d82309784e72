"""The processes that share a stage's work, as one of them sees them. A process by itself is a group of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from stc.errors import StcError
from stc.system.memory import out_of_memory

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # for the slowest: the first may be writing a checkpoint of 100 GB
BUCKET_BYTES = 64 * 2**20  # of gradients that are sent together: small ones by themselves would wait for each other


@dataclass(frozen=True)
class WorkerGroup:
    """``rank`` is this process's number, from 0, among ``size``."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this process writes down what all of them have found."""
        return self.rank == 0

    def share_of(self, items: Sequence[T]) -> Sequence[T]:
        """Those of ``items`` that are this process's: every ``size``-th, so that where the cost goes up along them,
        each gets of all kinds."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """The value of each process, by rank."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives the first process, which alone calls it."""
        return self.gather(make() if self.is_first else None)[0]  # type: ignore[return-value]

    def first_then_others(self, run: Callable[[], T]) -> T:
        """``run`` in the first process and, when that is done, in the others."""
        if not self.is_first:
            self.gather(None)
        found = run()
        if self.is_first:
            self.gather(None)
        return found

    def mean_loss(self, parameters: Sequence[nn.Parameter], own: Callable[[], tuple[Tensor, int]]) -> Tensor:
        """The mean loss a token of all processes together; its gradient is then in ``.grad``.

        Args:
            own: gives the mean loss a token of this process's share, and how many tokens that has, and leaves the
                gradient in ``.grad``. Where memory runs out in one process, it has run out in all of them.

        Raises:
            torch.OutOfMemoryError: it has.
        """
        if self.size == 1:
            return own()[0]
        try:
            loss, tokens = own()
            lacking = {number for number, one in enumerate(parameters) if one.grad is None}
            reports = self.gather(("", tokens, lacking))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            reports = self.gather((str(error), 0, set()))
        if said := [short for short, _, _ in reports if short]:
            raise torch.OutOfMemoryError(said[0])
        weight = tokens / sum(count for _, count, _ in reports)
        unused = set.intersection(*(lacking for _, _, lacking in reports))  # by anybody: the optimizer passes them over
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
    """The group of this process."""
    if distributed.is_available() and distributed.is_initialized():
        return WorkerGroup(distributed.get_rank(), distributed.get_world_size())
    return WorkerGroup(0, 1)


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Be one of the processes that torchrun has started: on GPUs they compute through NCCL, otherwise through gloo."""
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    # One that is done at once must not be gone while another is still connecting to it.
    current_group().gather(None)
    yield
    distributed.destroy_process_group()


def _sum_gradients(parameters: Sequence[nn.Parameter], weight: float) -> None:
    """Put the sum over processes of each one's gradient, times its weight, in the place of its gradient."""
    for bucket in _buckets(parameters):
        for parameter in bucket:
            if parameter.grad is None:  # of a process without examples; the others have one
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        flat = torch.cat([one.reshape(-1) for one in gradients]) if len(gradients) > 1 else gradients[0].reshape(-1)
        flat *= weight
        distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters in their order, those of one type that come to :data:`BUCKET_BYTES` together."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and (size + parameter.nbytes > BUCKET_BYTES or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.nbytes
    if bucket:
        yield bucket

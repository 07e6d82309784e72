"""Going on with smaller batches where memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from stc.errors import StcError, first_line

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_RELEASABLE: list[Callable[[], bool]] = []


@contextmanager
def releasable_memory(give_back: Callable[[], bool]) -> Iterator[None]:
    """Inside, there is memory that the work can do without. ``give_back`` gives it back before a batch is made smaller,
    and says whether there was any."""
    _RELEASABLE.append(give_back)
    try:
        yield
    finally:
        _RELEASABLE.remove(give_back)


class BatchSize:
    """How many examples go through a model at once: half as many, from then on, each time memory runs out, once what
    is :func:`releasable_memory` has been given back.

    Said once, however often it happens. A result does not depend on it, so that what was finished stays.

    Args:
        size: to begin with.
        key: the setting that gives it, for the message.
    """

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self._key = key
        self._said = False

    @classmethod
    def of(cls, size: int | BatchSize, key: str) -> BatchSize:
        """``size`` itself if it is one already, shared and perhaps smaller than it was."""
        return size if isinstance(size, BatchSize) else cls(size, key)

    def at_most(self, size: int) -> BatchSize:
        """Itself, or another of that size, which then shrinks by itself."""
        return self if self.size <= size else BatchSize(size, self._key)

    def attempt(self, run: Callable[[int], R], most: int | None = None) -> R:
        """What ``run`` gives for the batch size, or for the first smaller one that fits.

        Args:
            most: how many examples there are, if that may be fewer than the batch size.

        Raises:
            StcError: memory does not suffice for one example.
        """
        while True:
            tried = self.size if most is None else min(self.size, most)
            try:
                return run(self.size)
            except RuntimeError as error:
                said = self._shortage(error, tried)
            self._halve(said, tried)

    def resumed(self, make: Callable[[int], Iterator[R]]) -> Iterator[R]:
        """What an iterator gives that ``make`` makes for the batch size; where memory runs out, another one goes on,
        for a smaller size. ``make`` knows what is left.

        Raises:
            StcError: memory does not suffice for one example.
        """
        while True:
            try:
                yield from make(self.size)
                return
            except RuntimeError as error:
                said = self._shortage(error, self.size)
            self._halve(said, self.size)

    def over(self, items: Sequence[T], run: Callable[[Sequence[T]], None]) -> None:
        """``run`` for all the items, a batch at a time in their order."""
        done = 0

        def part(size: int) -> int:
            batch = items[done : done + size]
            run(batch)
            return len(batch)

        while done < len(items):
            done += self.attempt(part, len(items) - done)

    def _shortage(self, error: RuntimeError, tried: int) -> str | None:
        """What an error says, if it is that memory ran out and a smaller batch may do; None if spare memory may; raises
        it otherwise."""
        if not out_of_memory(error):
            raise error
        if any(give_back() for give_back in _RELEASABLE):
            return None
        said = first_line(error)
        if tried == 1:
            raise StcError(f"out of memory with one example at a time: {said}") from error
        return said

    def _halve(self, said: str | None, tried: int) -> None:
        """To be called after the ``except`` block: only then are the frames gone that held what did not fit."""
        import torch

        gc.collect()
        torch.cuda.empty_cache()
        if said is None:
            return
        self.size = (tried + 1) // 2
        if not self._said:
            log.warning("out of memory (%s): going on with %s=%d, or fewer if need be", said, self._key, self.size)
            self._said = True


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or, as far as PyTorch noticed, on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def free_memory(device: str) -> int:
    """Bytes free where a model is: on the GPU, with what PyTorch holds and does not use, or in the machine."""
    import torch

    if torch.device(device).type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    import psutil

    return int(psutil.virtual_memory().available)

"""Retry with smaller batches when memory runs out."""

from __future__ import annotations

import ctypes
import gc
import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from stc.errors import StcError, first_line

log = logging.getLogger(__name__)

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 4 * 1024**2

T = TypeVar("T")
R = TypeVar("R")

_RELEASABLE: list[Callable[[], bool]] = []


@contextmanager
def releasable_memory(give_back: Callable[[], bool]) -> Iterator[None]:
    """Register memory that the work inside the block can do without.

    ``give_back`` frees it, and returns whether there was any. It is called before a batch is made smaller.
    """
    _RELEASABLE.append(give_back)
    try:
        yield
    finally:
        _RELEASABLE.remove(give_back)


class BatchSize:
    """A number of examples that go through a model at once. It is halved each time memory runs out.

    Memory registered by :func:`releasable_memory` is freed first. The user is told once. Results do not depend on the
    batch size, so finished work stays valid.

    Args:
        size: the size to begin with.
        key: the setting that gives it, for the message.
    """

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self._key = key
        self._warned = False

    @classmethod
    def of(cls, size: int | BatchSize, key: str) -> BatchSize:
        """Return ``size`` itself if it is a BatchSize already, which others share and may have halved."""
        return size if isinstance(size, BatchSize) else cls(size, key)

    def at_most(self, size: int) -> BatchSize:
        """Return this batch size if it is at most ``size``, else a new one of that size, halved independently."""
        return self if self.size <= size else BatchSize(size, self._key)

    def attempt(self, run: Callable[[int], R], most: int | None = None) -> R:
        """Return what ``run`` returns for the batch size, or for the first smaller one that fits into memory.

        Args:
            most: the number of examples, if there may be fewer than the batch size.

        Raises:
            StcError: one example does not fit into memory.
        """
        while True:
            tried = self.size if most is None else min(self.size, most)
            try:
                return run(self.size)
            except RuntimeError as error:
                message = self._out_of_memory_message(error, tried)
            self._free_or_halve(message, tried)

    def resumed(self, make: Callable[[int], Iterator[R]]) -> Iterator[R]:
        """Yield from the iterator that ``make`` returns for the batch size.

        When memory runs out, a new iterator for a smaller size continues; ``make`` keeps track of what is left to do.

        Raises:
            StcError: one example does not fit into memory.
        """
        while True:
            try:
                yield from make(self.size)
                return
            except RuntimeError as error:
                message = self._out_of_memory_message(error, self.size)
            self._free_or_halve(message, self.size)

    def over(self, items: Sequence[T], run: Callable[[Sequence[T]], None]) -> None:
        """Call ``run`` on all items, a batch at a time, in order."""
        done = 0

        def part(size: int) -> int:
            batch = items[done : done + size]
            run(batch)
            return len(batch)

        while done < len(items):
            done += self.attempt(part, len(items) - done)

    def _out_of_memory_message(self, error: RuntimeError, tried: int) -> str | None:
        """Return the error's message if a smaller batch may help, or None if memory has been released; else raise."""
        if not out_of_memory(error):
            raise error
        if any(give_back() for give_back in _RELEASABLE):
            return None
        message = first_line(error)
        if tried == 1:
            raise StcError(f"out of memory with one example at a time: {message}") from error
        return message

    def _free_or_halve(self, message: str | None, tried: int) -> None:
        """Free what the failed attempt held, and halve the size unless memory was released.

        Call it after the ``except`` block: only then are the frames gone that held what did not fit.
        """
        import torch

        gc.collect()
        torch.cuda.empty_cache()
        if message is None:
            return
        self.size = (tried + 1) // 2
        if not self._warned:
            log.warning("out of memory (%s): going on with %s=%d, or fewer if needed", message, self._key, self.size)
            self._warned = True


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or (as far as PyTorch notices) on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def free_memory(device: str) -> int:
    """Return the free bytes of a device. On a GPU, memory that PyTorch has reserved and does not use counts as free."""
    import torch

    if torch.device(device).type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    import psutil

    return int(psutil.virtual_memory().available)


@cache
def give_back_large_blocks() -> None:
    """Make glibc return freed blocks of :data:`LARGE_BLOCK` bytes and more to the system; no effect elsewhere.

    By itself glibc moves its limit up to 32 MiB. Then the temporary arrays of a log-mel spectrogram (5 MB for 8 s) come
    from its heap, each with something small behind it that stays, and are never used again: 4 GB after 800 utterances.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)

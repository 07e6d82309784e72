"""The order of the training examples: drawn from the seed alone, with examples of similar length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

POOL_BATCHES = 50  # batches whose examples are sorted by length among themselves


def batches(lengths: Sequence[float], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield global batches of example indices, epoch after epoch, without end.

    Every epoch has each example once. The examples are shuffled, cut into pools of :data:`POOL_BATCHES` batches and
    sorted by length within a pool, so that a batch needs little padding. Then the batches are shuffled. One batch of
    an epoch may be smaller than ``batch_size``.

    Args:
        lengths: of every example, in any unit.
    """
    generator = np.random.default_rng(seed)
    length = np.asarray(lengths, dtype=np.float64)
    while True:
        order = generator.permutation(len(length))
        epoch: list[list[int]] = []
        for start in range(0, len(order), POOL_BATCHES * batch_size):
            pool = order[start : start + POOL_BATCHES * batch_size]
            pool = pool[np.argsort(length[pool], kind="stable")]
            epoch += [pool[at : at + batch_size].tolist() for at in range(0, len(pool), batch_size)]
        for index in generator.permutation(len(epoch)):
            yield epoch[index]


def batches_per_epoch(examples: int, batch_size: int) -> int:
    return -(-examples // batch_size)

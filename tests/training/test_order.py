"""The order of the data has every example once per epoch, follows from the seed, and groups similar lengths."""

from itertools import islice

import numpy as np

from stc.training.data_order import batches, batches_per_epoch

LENGTHS = [float((7 * index) % 31) for index in range(250)]


def epoch(seed: int, size: int = 4, number: int = 0) -> list[list[int]]:
    count = batches_per_epoch(len(LENGTHS), size)
    return list(islice(batches(LENGTHS, size, seed), number * count, (number + 1) * count))


def test_an_epoch_holds_every_example_once() -> None:
    for number in (0, 1):
        assert sorted(index for batch in epoch(0, number=number) for index in batch) == list(range(250))


def test_the_seed_alone_decides() -> None:
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, number=1)


def test_examples_of_a_batch_are_of_similar_length() -> None:
    spread = np.mean([np.ptp([LENGTHS[index] for index in batch]) for batch in epoch(0)])
    assert spread < 0.2 * np.ptp(LENGTHS)


def test_batches_have_their_size() -> None:
    sizes = [len(batch) for batch in epoch(0)]
    assert sorted(set(sizes)) == [2, 4]
    assert sizes.count(2) == 1

from typing import Any

import pytest

from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.pruning.random import RandomLayers


def drawn(ctx: Context, seed: int, layers: int = 6, **of: int) -> tuple[list[int], list[int]]:
    counts: Any = of or {"decoder": 16}
    facts = RandomLayers(of=counts, layers=layers, seed=seed).run({}, ctx.scratch, ctx)
    return facts["order"], facts["encoder_order"]


def test_a_seed_always_draws_the_same_and_another_one_something_else(ctx: Context) -> None:
    assert drawn(ctx, 3) == drawn(ctx, 3) == ([7, 6, 10, 1, 9, 3], [])
    assert len({tuple(sorted(drawn(ctx, seed)[0])) for seed in range(20)}) == 20


def test_fewer_layers_of_a_seed_are_the_first_of_more(ctx: Context) -> None:
    assert drawn(ctx, 0, layers=8)[0][:3] == drawn(ctx, 0, layers=3)[0]


def test_every_layer_but_the_protected_ones_is_drawn_by_some_seed(ctx: Context) -> None:
    draws = [drawn(ctx, seed, layers=2, decoder=6, encoder=5) for seed in range(40)]
    assert {layer for decoder, _ in draws for layer in decoder} == {1, 2, 3, 4}
    assert {layer for _, encoder in draws for layer in encoder} == {1, 2, 3}


def test_more_layers_than_can_be_removed_are_refused(ctx: Context) -> None:
    with pytest.raises(InputError, match="4 layers can be removed"):
        drawn(ctx, 0, layers=5, decoder=6)

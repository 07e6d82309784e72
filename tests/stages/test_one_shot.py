"""One-shot methods choose the layers or the block that change their input least."""

import json
from pathlib import Path
from typing import Any

import pytest

from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.pruning.block_influence import OneShot
from stc.store.artifact import Artifact, Kind

INFLUENCE = {"decoder": [0.0, 0.5, 0.1, 0.4, 0.2, 0.0], "encoder": [0.0, 0.3, 0.05, 0.6, 0.0]}
# By first layer: the distances of the blocks of 1, 2, … layers. The smallest start at a protected layer, or end there.
ANGULAR = {
    "decoder": [[0.0] * 6, [0.3, 0.2, 0.7, 0.9, 0.0], [0.1, 0.4, 0.6, 0.0], [0.5, 0.3, 0.0], [0.2, 0.0], [0.0]],
    "encoder": [[0.0] * 5, [0.4, 0.5, 0.9, 0.0], [0.3, 0.2, 0.0], [0.6, 0.0], [0.0]],
}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    content = {stack: {"influence": INFLUENCE[stack], "angular": ANGULAR[stack]} for stack in INFLUENCE}
    (tmp_path / "similarity.json").write_text(json.dumps(content))
    return {"similarity": Artifact(Kind.SIMILARITY, tmp_path, "similarity")}


def chosen(inputs: dict[str, Artifact], ctx: Context, **fields: Any) -> tuple[list[int], list[int]]:
    facts = OneShot(**fields).run(inputs, ctx.scratch, ctx)
    return facts["order"], facts["encoder_order"]


def test_block_influence_removes_the_layers_of_lowest_influence(inputs: dict[str, Artifact], ctx: Context) -> None:
    assert chosen(inputs, ctx, method="block_influence", layers=3) == ([2, 4, 3], [])
    assert chosen(inputs, ctx, method="block_influence", scope="encoder", layers=2) == ([], [2, 1])
    assert chosen(inputs, ctx, method="block_influence", scope="both", layers=3) == ([2, 4], [2])


@pytest.mark.parametrize(("layers", "block"), [(1, [2]), (2, [1, 2]), (3, [2, 3, 4]), (4, [1, 2, 3, 4])])
def test_angular_removes_the_block_of_smallest_distance(
    layers: int, block: list[int], inputs: dict[str, Artifact], ctx: Context
) -> None:
    assert chosen(inputs, ctx, method="angular", layers=layers) == (block, [])


def test_angular_of_both_stacks_takes_a_block_of_each(inputs: dict[str, Artifact], ctx: Context) -> None:
    assert chosen(inputs, ctx, method="angular", scope="both", layers=4) == ([1, 2], [2, 3])
    assert chosen(inputs, ctx, method="angular", scope="both", layers=1) == ([2], [])


@pytest.mark.parametrize("method", ["block_influence", "angular"])
def test_more_layers_than_can_be_removed_are_refused(method: str, inputs: dict[str, Artifact], ctx: Context) -> None:
    with pytest.raises(InputError, match="4 layers can be removed"):
        chosen(inputs, ctx, method=method, layers=5)

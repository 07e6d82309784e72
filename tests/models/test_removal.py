"""The facts of a ranking, and how many layers are removed from which stack."""

import json
from pathlib import Path

import pytest

from stc.errors import InputError
from stc.models.architecture import Stack
from stc.models.layer_ranking import Layer, Removal, layers_per_stack, removable, removal_faults

BOTH: dict[Stack, int] = {"decoder": 6, "encoder": 5}
ORDER: tuple[Layer, ...] = (("decoder", 4), ("encoder", 2), ("decoder", 1))


def test_both_ends_of_each_stack_stay() -> None:
    assert removable(BOTH) == [("decoder", n) for n in (1, 2, 3, 4)] + [("encoder", n) for n in (1, 2, 3)]
    assert removable({"encoder": 2}) == []


def test_facts_say_order_and_set_by_stack_and_give_the_removal_back(tmp_path: Path) -> None:
    facts = Removal(BOTH, ORDER).save(tmp_path, {"method": "by hand"})
    assert (facts["order"], facts["layers_removed"]) == ([4, 1], [1, 4])
    assert (facts["encoder_order"], facts["encoder_layers_removed"]) == ([2], [2])
    assert json.loads((tmp_path / "ranking.json").read_text()) == {"method": "by hand", **facts}
    assert Removal.from_facts(facts).facts() == facts


@pytest.mark.parametrize(
    ("found", "present"),
    [((6, 5), [0, 1, 2, 3, 4, 5]), ((5, 5), [0, 1, 2, 3, 5]), ((4, 4), [0, 2, 3, 5])],
    ids=["nothing lost", "the first lost", "all lost"],
)
def test_a_model_with_fewer_layers_has_lost_the_first_of_the_order(found: tuple[int, int], present: list[int]) -> None:
    places = Removal(BOTH, ORDER).places({"decoder": found[0], "encoder": found[1]}, Path("model"))
    assert [layer for (stack, layer) in places if stack == "decoder"] == present
    assert [place for (stack, _), place in places.items() if stack == "decoder"] == list(range(found[0]))


@pytest.mark.parametrize("layers", [3, 7])
def test_a_model_that_lost_more_or_never_had_as_many_is_refused(layers: int) -> None:
    with pytest.raises(InputError, match=f"model has {layers} decoder layers; the ranking is of 6"):
        Removal(BOTH, ORDER).places({"decoder": layers, "encoder": 5}, Path("model"))


@pytest.mark.parametrize(
    ("layers", "of", "shares"),
    [
        (11, {"decoder": 16, "encoder": 6}, {"decoder": 8, "encoder": 3}),
        (16, {"decoder": 32, "encoder": 32}, {"decoder": 8, "encoder": 8}),
        (1, {"decoder": 16, "encoder": 6}, {"decoder": 1, "encoder": 0}),
        (18, {"decoder": 16, "encoder": 6}, {"decoder": 14, "encoder": 4}),
        (4, {"decoder": 4, "encoder": 4}, {"decoder": 2, "encoder": 2}),
        (3, {"encoder": 6}, {"encoder": 3}),
    ],
)
def test_blocks_are_shared_out_in_proportion(layers: int, of: dict[Stack, int], shares: dict[Stack, int]) -> None:
    assert layers_per_stack(layers, of) == shares


def test_every_possible_number_can_be_shared_out() -> None:
    for sizes in ((16, 6), (6, 16), (32, 32), (3, 12), (12, 2)):
        of: dict[Stack, int] = dict(zip(("decoder", "encoder"), sizes, strict=True))
        for layers in range(len(removable(of)) + 1):
            shares = layers_per_stack(layers, of)
            assert sum(shares.values()) == layers
            assert all(0 <= shares[stack] <= max(of[stack] - 2, 0) for stack in of)
        with pytest.raises(InputError, match="cannot be removed"):
            layers_per_stack(len(removable(of)) + 1, of)


def test_fault_of_named_layers_lists_the_removable_ones() -> None:
    assert removal_faults([("decoder", 4), ("decoder", 1), ("encoder", 3)], BOTH) == {}
    assert removal_faults([("decoder", 0), ("decoder", 9), ("encoder", 4)], BOTH) == {
        "decoder": "0, 9 cannot be removed: of 6 decoder layers, 1 to 4 can",
        "encoder": "4 cannot be removed: of 5 encoder layers, 1 to 3 can",
    }
    assert removal_faults([("decoder", 2), ("decoder", 2)], BOTH) == {"decoder": "2, 2: each layer can be named once"}

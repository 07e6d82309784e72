import pytest

from stc.errors import InputError
from stc.models.architecture import Stack
from stc.pipeline.stage import Context
from stc.pruning.middle import MiddleBlock


@pytest.mark.parametrize(
    ("of", "layers", "decoder", "encoder"),
    [
        ({"decoder": 32}, 8, range(12, 20), range(0)),
        ({"decoder": 16}, 8, range(4, 12), range(0)),
        ({"decoder": 6}, 3, range(1, 4), range(0)),
        ({"encoder": 6}, 2, range(0), range(2, 4)),
        ({"decoder": 16, "encoder": 6}, 11, range(4, 12), range(1, 4)),
    ],
)
def test_block_is_in_the_middle(
    of: dict[Stack, int], layers: int, decoder: range, encoder: range, ctx: Context
) -> None:
    facts = MiddleBlock(of=of, layers=layers).run({}, ctx.scratch, ctx)
    assert (facts["layers_removed"], facts["encoder_layers_removed"]) == (list(decoder), list(encoder))


def test_more_layers_than_can_be_removed_are_refused(ctx: Context) -> None:
    with pytest.raises(InputError, match="5 layers cannot be removed"):
        MiddleBlock(of={"decoder": 6}, layers=5).run({}, ctx.scratch, ctx)

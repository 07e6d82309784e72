import pytest

from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.pruning.explicit import ExplicitLayers


def test_the_named_layers_are_removed(ctx: Context) -> None:
    stage = ExplicitLayers(of={"decoder": 6, "encoder": 5}, decoder=(4, 2), encoder=(3,))
    facts = stage.run({}, ctx.scratch, ctx)
    assert (facts["order"], facts["layers_removed"], facts["encoder_layers_removed"]) == ([4, 2], [2, 4], [3])


@pytest.mark.parametrize("layer", [0, 5, 6, -1])
def test_protected_and_absent_layers_are_refused(layer: int, ctx: Context) -> None:
    with pytest.raises(InputError, match=f"{layer} cannot be removed: of 6 decoder layers, 1 to 4 can"):
        ExplicitLayers(of={"decoder": 6}, decoder=(2, layer)).run({}, ctx.scratch, ctx)

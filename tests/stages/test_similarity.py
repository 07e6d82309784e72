import json
from pathlib import Path

from stc.pipeline.stage import Context
from stc.pruning.block_influence import Similarity
from stc.store.artifact import Artifact, Kind


def test_every_layer_and_block_of_both_stacks_is_written(
    planted_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    inputs = {
        "model": Artifact(Kind.MODEL, planted_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }
    facts = Similarity(dtype="float32").run(inputs, tmp_path, ctx)
    assert facts == {"layers": {"decoder": 6, "encoder": 5}}
    content = json.loads((tmp_path / "similarity.json").read_text())
    for stack, layers in facts["layers"].items():
        assert len(content[stack]["influence"]) == len(content[stack]["angular"]) == layers
    assert min(range(6), key=content["decoder"]["influence"].__getitem__) == 3
    assert min(range(5), key=content["encoder"]["influence"].__getitem__) == 2

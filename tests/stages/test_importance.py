"""A greedy round removes the layer whose absence scores best, and survives an interruption."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.errors import InputError
from stc.metrics.text import score
from stc.models.checkpoint import load
from stc.models.surgery import drop_decoder_layers
from stc.stage import Artifact, Context, Kind
from stc.stages.importance import Importance

STAGE = Importance(metric="chrf", dtype="float32", max_new_tokens=12)


@pytest.fixture
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def run(inputs: dict[str, Artifact], out: Path, ctx: Context) -> Artifact:
    out.mkdir()
    facts = STAGE.run(inputs, out, ctx)
    assert json.loads((out / "ranking.json").read_text())["order"] == facts["order"]
    return Artifact(Kind.RANKING, out, "ranking", facts)


def candidates(ranking: Artifact) -> dict[int, float]:
    found = json.loads((ranking.path / "ranking.json").read_text())["candidates"]
    return {candidate["layer"]: candidate["score"] for candidate in found}


def score_without(inputs: dict[str, Artifact], layers: list[int]) -> float:
    """What a model really pruned scores, from its own encoding of the audio."""
    manifest = Manifest.load(inputs["data"].path)
    pruned = load(inputs["model"].path, device="cpu", dtype="float32")
    drop_decoder_layers(pruned, layers)
    texts = translate(pruned, manifest, batch_size=4, max_new_tokens=12)
    return score("chrf", texts, manifest.targets, "de")


def test_candidates_score_what_the_pruned_model_scores(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    ranking = run(inputs, tmp_path / "one", ctx)
    assert candidates(ranking) == {layer: score_without(inputs, [layer]) for layer in (1, 2, 3, 4)}
    best = ranking.facts["layer"]
    assert ranking.facts["score"] == max(candidates(ranking).values()) == candidates(ranking)[best]


def test_a_second_round_goes_on_from_the_first_in_the_models_numbering(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    first = run(inputs, tmp_path / "one", ctx)
    (tmp_path / "scratch2").mkdir()
    second = run(inputs | {"previous": first}, tmp_path / "two", replace(ctx, scratch=tmp_path / "scratch2"))
    gone = first.facts["layer"]
    assert candidates(second) == {
        layer: score_without(inputs, [gone, layer]) for layer in (1, 2, 3, 4) if layer != gone
    }
    assert second.facts["order"] == [gone, second.facts["layer"]]
    assert second.facts["layers_removed"] == sorted(second.facts["order"])


def test_an_interrupted_round_keeps_its_scores_and_ignores_a_torn_line(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    undisturbed = candidates(run(inputs, tmp_path / "whole", ctx))
    scratch = tmp_path / "interrupted"
    scratch.mkdir()
    journal = scratch / "candidates.jsonl"
    journal.write_text('{"layer": 1, "score": 99.5}\n{"layer": 2, "sco')
    resumed = run(inputs, tmp_path / "resumed", replace(ctx, scratch=scratch))
    assert candidates(resumed) == undisturbed | {1: 99.5}
    assert [json.loads(line)["layer"] for line in journal.read_text().splitlines()] == [1, 2, 3, 4]


def test_of_equal_scores_the_lowest_layer_is_removed(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    lines = [json.dumps({"layer": layer, "score": 7.0 if layer > 1 else 6.0}) + "\n" for layer in (1, 2, 3, 4)]
    (ctx.scratch / "candidates.jsonl").write_text("".join(lines))
    assert run(inputs, tmp_path / "out", ctx).facts["layer"] == 2


def test_nothing_left_to_remove_is_refused(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    previous = Artifact(Kind.RANKING, tmp_path, "previous", {"order": [2, 1, 3, 4]})
    with pytest.raises(InputError, match="of 6, 2 are protected and 4 removed"):
        run(inputs | {"previous": previous}, tmp_path / "out", ctx)

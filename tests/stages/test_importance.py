"""A greedy round removes the layer whose absence scores best, and survives an interruption."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.decoding.output_formats import join_segments
from stc.errors import InputError
from stc.metrics.metric import score
from stc.models.architecture import Stack
from stc.models.layer_ranking import Layer
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import load, save
from stc.pipeline.logged_curves import read_journal, with_journal
from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.store.artifact import Artifact, Kind
from stc.training.teacher_forcing import TeacherForcing

TOKENS = 10
STAGE = Importance(metric="chrf", dtype="float32", max_new_tokens=TOKENS)


@pytest.fixture
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


@pytest.fixture
def planted(planted_model: Path, tiny_manifest: Path) -> dict[str, Artifact]:
    return {
        "model": Artifact(Kind.MODEL, planted_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def run(inputs: dict[str, Artifact], out: Path, ctx: Context, **fields: Any) -> Artifact:
    out.mkdir()
    ctx.scratch.mkdir(exist_ok=True)
    facts = STAGE.model_copy(update=fields).run(inputs, out, ctx)
    assert json.loads((out / "ranking.json").read_text())["order"] == facts["order"]
    return Artifact(Kind.RANKING, out, "ranking", facts)


def scored(ranking: Artifact) -> dict[Layer, float]:
    found = json.loads((ranking.path / "ranking.json").read_text())["candidates"]
    return {(candidate["stack"], candidate["layer"]): candidate["score"] for candidate in found}


def candidates(ranking: Artifact, stack: Stack = "decoder") -> dict[int, float]:
    return {layer: score for (of, layer), score in scored(ranking).items() if of == stack}


def score_without(inputs: dict[str, Artifact], layers: list[int], encoder: list[int] | None = None) -> float:
    """Return the score of a model that is really pruned and encodes the audio itself."""
    manifest = Manifest.load(inputs["data"].path)
    pruned = load(inputs["model"].path, device="cpu", dtype="float32")
    drop_layers(pruned, "decoder", layers)
    drop_layers(pruned, "encoder", encoder or [])
    texts = translate(pruned, manifest, batch_size=4, max_new_tokens=TOKENS)
    return score("chrf", texts, manifest.targets, "de")


def test_candidates_score_what_the_pruned_model_scores(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    ranking = run(inputs, tmp_path / "one", ctx)
    assert candidates(ranking) == {layer: score_without(inputs, [layer]) for layer in (1, 2, 3, 4)}
    best = ranking.facts["layer"]
    assert ranking.facts["score"] == max(candidates(ranking).values()) == candidates(ranking)[best]


def test_candidates_of_the_encoder_are_encoded_again(
    planted: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    ranking = run(planted, tmp_path / "one", ctx, scope="encoder")
    assert scored(ranking).keys() == {("encoder", layer) for layer in (1, 2, 3)}
    assert candidates(ranking, "encoder") == {layer: score_without(planted, [], [layer]) for layer in (1, 2, 3)}


@pytest.mark.parametrize("metric", ["chrf", "bleu", "loss"])
def test_every_metric_removes_the_layers_that_do_nothing_first(
    metric: str, planted: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    first = run(planted, tmp_path / "one", ctx, metric=metric, scope="both")
    again = replace(ctx, scratch=tmp_path / "scratch2")
    second = run(planted | {"previous": first}, tmp_path / "two", again, metric=metric, scope="both")
    assert (first.facts["layers_removed"], first.facts["encoder_layers_removed"]) == ([3], [])
    assert (second.facts["layers_removed"], second.facts["encoder_layers_removed"]) == ([3], [2])


def test_the_lowest_loss_is_best_and_each_is_that_of_the_pruned_model(
    planted: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    ranking = run(planted, tmp_path / "one", ctx, metric="loss", scope="both")
    assert ranking.facts["score"] == min(scored(ranking).values()) < max(scored(ranking).values())
    for stack in ("decoder", "encoder"):
        pruned = load(planted["model"].path, device="cpu", dtype="float32")
        drop_layers(pruned, stack, [1])
        expected = TeacherForcing(pruned, Manifest.load(planted["data"].path), ctx).loss()
        assert scored(ranking)[stack, 1] == pytest.approx(expected, rel=1e-5)


def test_a_second_round_continues_the_first_and_its_numbering(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    first = run(inputs, tmp_path / "one", ctx)
    second = run(inputs | {"previous": first}, tmp_path / "two", replace(ctx, scratch=tmp_path / "scratch2"))
    gone = first.facts["layer"]
    assert candidates(second) == {
        layer: score_without(inputs, [gone, layer]) for layer in (1, 2, 3, 4) if layer != gone
    }
    assert second.facts["order"] == [gone, second.facts["layer"]]
    assert second.facts["layers_removed"] == sorted(second.facts["order"])


def test_a_round_on_a_pruned_model_numbers_layers_as_the_first_round(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    removed = {"layers": {"decoder": 6}, "order": [3, 1], "encoder_order": []}
    previous = Artifact(Kind.RANKING, tmp_path, "previous", removed)
    whole = run(inputs | {"previous": previous}, tmp_path / "whole", ctx)
    for lost in ([3], [3, 1]):
        pruned = load(inputs["model"].path, device="cpu", dtype="float32")
        drop_layers(pruned, "decoder", lost)
        folder = tmp_path / f"without{len(lost)}"
        save(pruned, folder)
        models = inputs | {"model": Artifact(Kind.MODEL, folder, "pruned"), "previous": previous}
        after = run(models, tmp_path / f"after{len(lost)}", replace(ctx, scratch=tmp_path / f"scratch{len(lost)}"))
        assert (after.facts, candidates(after)) == (whole.facts, candidates(whole))


def test_a_model_that_the_ranking_is_not_for_is_refused(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    removed = {"layers": {"decoder": 9}, "order": [3, 1], "encoder_order": []}
    previous = Artifact(Kind.RANKING, tmp_path, "previous", removed)
    with pytest.raises(InputError, match="has 6 decoder layers; the ranking is of 9, and 2 of them"):
        run(inputs | {"previous": previous}, tmp_path / "out", ctx)


def test_an_interrupted_round_keeps_its_scores_and_ignores_malformed_lines(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    undisturbed = candidates(run(inputs, tmp_path / "whole", ctx))
    scratch = tmp_path / "interrupted"
    scratch.mkdir()
    journal = scratch / "candidates.jsonl"
    wrong = ["[]", '{"stack": "decoder", "layer": 2}', '{"stack": "decoder", "layer": 3, "score": "high"}']
    lines = ['{"stack": "decoder", "layer": 1, "score": 99.5}', *wrong, '{"stack": "decoder", "layer": 2, "sco']
    journal.write_text("\n".join(lines))
    resumed = run(inputs, tmp_path / "resumed", replace(ctx, scratch=scratch))
    assert candidates(resumed) == undisturbed | {1: 99.5}
    assert [json.loads(line)["layer"] for line in journal.read_text().splitlines()[5:]] == [2, 3, 4]


def test_a_round_that_dies_while_writing_a_score_has_the_curve_of_an_undisturbed_one(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
    for scratch in (quiet, disturbed):
        scratch.mkdir()
    run(inputs, tmp_path / "whole", with_journal(replace(ctx, scratch=quiet)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _die)
        with pytest.raises(Died):
            run(inputs, tmp_path / "died", with_journal(replace(ctx, scratch=disturbed)))
    assert (disturbed / "candidates.jsonl").read_text().count("score") == 1
    run(inputs, tmp_path / "resumed", with_journal(replace(ctx, scratch=disturbed)))
    assert read_journal(disturbed) == read_journal(quiet)


class Died(Exception):
    """Stands in for the death of the process."""


def _die(*_: object) -> None:
    raise Died


@pytest.mark.parametrize(("metric", "best"), [("chrf", 2), ("loss", 1)])
def test_of_equal_scores_the_lowest_layer_is_removed(
    metric: str, best: int, inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    scores = {1: 6.0, 2: 7.0, 3: 7.0, 4: 6.0}
    lines = [json.dumps({"stack": "decoder", "layer": layer, "score": one}) + "\n" for layer, one in scores.items()]
    (ctx.scratch / "candidates.jsonl").write_text("".join(lines))
    assert run(inputs, tmp_path / "out", ctx, metric=metric).facts["layer"] == best


def test_nothing_left_to_remove_is_refused(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    removed = {"layers": {"decoder": 6}, "order": [2, 1, 3, 4], "encoder_order": []}
    with pytest.raises(InputError, match="4 are removed and the first and the last"):
        run(inputs | {"previous": Artifact(Kind.RANKING, tmp_path, "previous", removed)}, tmp_path / "out", ctx)


def losses(ranking: Artifact) -> dict[Layer, float]:
    found = json.loads((ranking.path / "ranking.json").read_text())["candidates"]
    return {(candidate["stack"], candidate["layer"]): candidate["loss"] for candidate in found}


def test_a_screened_round_scores_the_candidates_of_lowest_loss_as_the_exact_one(
    planted: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    exact = run(planted, tmp_path / "exact", ctx, scope="both")
    by_loss = run(planted, tmp_path / "loss", replace(ctx, scratch=tmp_path / "loss1"), metric="loss", scope="both")
    screened = run(planted, tmp_path / "screened", replace(ctx, scratch=tmp_path / "screen1"), screen=3, scope="both")
    assert losses(screened) == scored(by_loss)
    finalists = sorted(scored(by_loss), key=scored(by_loss).__getitem__)[:3]
    assert scored(screened) == {layer: score if layer in finalists else None for layer, score in scored(exact).items()}
    best = max((layer for layer in scored(exact) if layer in finalists), key=scored(exact).__getitem__)
    assert (screened.facts["stack"], screened.facts["layer"]) == best
    written = json.loads((screened.path / "ranking.json").read_text())
    assert written["screen"]["kept"] == 3
    assert written["screen"]["signature"] == json.loads((by_loss.path / "ranking.json").read_text())["signature"]


def test_a_screen_may_exclude_the_exact_choice(inputs: dict[str, Artifact], tmp_path: Path, ctx: Context) -> None:
    """The loss decides which candidates are scored."""
    low = {1: 2.0, 2: 1.0, 3: 2.0, 4: 3.0}
    for name, found in (("screen", low), ("candidates", {1: 6.0, 2: 5.0})):
        lines = [json.dumps({"stack": "decoder", "layer": layer, "score": one}) + "\n" for layer, one in found.items()]
        (ctx.scratch / f"{name}.jsonl").write_text("".join(lines))
    ranking = run(inputs, tmp_path / "out", ctx, screen=2)
    assert candidates(ranking) == {1: 6.0, 2: 5.0, 3: None, 4: None}  # of 1 and 3, with equal losses, the lower
    assert ranking.facts["layer"] == 1


def test_a_screen_with_room_for_all_candidates_is_not_used(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    run(inputs, tmp_path / "exact", ctx)
    wide = replace(ctx, scratch=tmp_path / "wide_scratch")
    run(inputs, tmp_path / "wide", wide, screen=4)
    exact, found = ((tmp_path / name / "ranking.json").read_text() for name in ("exact", "wide"))
    assert found == exact
    assert not (wide.scratch / "screen.jsonl").exists()


def test_a_screened_round_that_was_interrupted_keeps_its_losses_and_its_scores(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
    for scratch in (quiet, disturbed):
        scratch.mkdir()
    whole = run(inputs, tmp_path / "whole", with_journal(replace(ctx, scratch=quiet)), screen=2)
    kept = os.fsync
    for number in range(6):  # four losses and two scores: each process gets one further
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda file: (kept(file), _die()))
            with pytest.raises(Died):
                run(inputs, tmp_path / f"died{number}", with_journal(replace(ctx, scratch=disturbed)), screen=2)
        written = [(disturbed / f"{name}.jsonl") for name in ("screen", "candidates")]
        assert sum(file.read_text().count("score") for file in written if file.exists()) == number + 1
    resumed = run(inputs, tmp_path / "resumed", replace(ctx, scratch=disturbed), screen=2)
    assert (scored(resumed), losses(resumed)) == (scored(whole), losses(whole))
    assert read_journal(disturbed) == read_journal(quiet)


def test_a_round_without_a_screen_has_the_identity_of_older_versions() -> None:
    fields = {"dtype": "float32", "attention": "sdpa", "scope": "decoder", "metric": "chrf", "max_new_tokens": TOKENS}
    screened = STAGE.model_copy(update={"screen": 3})
    assert STAGE.model_dump(mode="json", exclude=set(STAGE.NOT_IDENTITY)) == fields
    assert screened.model_dump(mode="json", exclude=set(STAGE.NOT_IDENTITY)) == fields | {"screen": 3}


def test_parts_of_an_utterance_are_scored_as_one_and_have_no_loss(
    inputs: dict[str, Artifact], tmp_path: Path, ctx: Context
) -> None:
    shutil.copytree(inputs["data"].path, tmp_path / "data")
    found = Manifest.load(tmp_path / "data")
    parts = [row.model_copy(update={"part_of": "long", "target": found.rows[0].target}) for row in found.rows[:2]]
    Manifest(found.folder, found.task, [*parts, *found.rows[2:]]).save()
    given = {**inputs, "data": Artifact(Kind.MANIFEST, found.folder, "parts")}
    pruned = load(inputs["model"].path, device="cpu", dtype="float32")
    drop_layers(pruned, "decoder", [2])
    first, second, *texts = translate(pruned, found, batch_size=4, max_new_tokens=TOKENS)
    targets = [found.rows[0].target, *found.targets[2:]]
    expected = score("chrf", [join_segments([first, second]), *texts], targets, "de")
    assert candidates(run(given, tmp_path / "one", replace(ctx, scratch=tmp_path / "1")))[2] == expected
    Manifest(tmp_path / "data", found.task, found.rows[2:]).save()
    without = run(given, tmp_path / "without", replace(ctx, scratch=tmp_path / "2"), metric="loss")
    Manifest(tmp_path / "data", found.task, [*parts, *found.rows[2:]]).save()
    with_parts = run(given, tmp_path / "two", replace(ctx, scratch=tmp_path / "3"), metric="loss")
    assert scored(with_parts) == scored(without)

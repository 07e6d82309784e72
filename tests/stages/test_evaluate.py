"""evaluate leaves the translations and scores that can be resampled."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from stc.data.manifest import Manifest
from stc.metrics.metric import corpus_score
from stc.metrics.score_files import Scores
from stc.pipeline.stage import Context
from stc.stages.evaluate import Evaluate
from stc.store.artifact import Artifact, Kind

STAGE = Evaluate(metrics=["bleu", "chrf_pp"], dtype="float32", max_new_tokens=8, witnessed=0)


@pytest.fixture
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Any]:
    return {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def test_scores_are_those_of_the_translations_written(
    inputs: dict[str, Any], tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    facts = STAGE.run(inputs, out, ctx)
    hypotheses = (out / "hypotheses.txt").read_text(encoding="utf-8").split("\n")[:-1]
    references = (out / "references.txt").read_text(encoding="utf-8").split("\n")[:-1]
    scores = Scores.load(out)

    assert references == Manifest.load(tiny_manifest).targets
    assert len(hypotheses) == len(references) == scores.sentences == facts["sentences"]
    assert any(hypotheses)
    expected = sacrebleu.corpus_chrf(hypotheses, [references], word_order=2).score
    assert facts["chrf_pp"] == scores.metrics["chrf_pp"].score == expected > 0
    assert facts["bleu"] == sacrebleu.corpus_bleu(hypotheses, [references]).score
    for name, metric in scores.metrics.items():
        assert corpus_score(name, metric.statistics) == metric.score


def test_what_is_said_instead_of_translating_is_counted_and_logged_if_there_is_any(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: dict[str, float] = {}
    said = ["Here is the translation: Ja.", "", *["Das Haus. " * 5] * 6]
    monkeypatch.setattr(Evaluate, "translate", lambda *_, **__: said)
    facts = STAGE.run(inputs, tmp_path, replace(ctx, log=lambda metrics, step=None: logged.update(metrics)))
    assert logged == {"preambles": 1, "empty": 1, "loops": 6}
    assert {name: count for name, count in facts["output_faults"].items() if count} == logged
    assert facts["output_faults"]["cut_off"] == 0


def test_with_rules_the_edited_texts_are_scored_and_those_before_are_checked_counted_and_kept(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = Manifest.load(inputs["data"].path).targets
    said = [f"Translation: {target}" for target in targets[:3]] + targets[3:]
    monkeypatch.setattr(Evaluate, "translate", lambda *_, **__: said)
    monkeypatch.setattr("stc.verification.independent.independent_translations", lambda *_: [said[:3]])
    stage = Evaluate(**{**STAGE.model_dump(), "witnessed": 3, "decoding": {"strip": ["preamble"]}})
    facts = stage.run(inputs, tmp_path, ctx)
    assert facts["chrf_pp"] == pytest.approx(100)
    assert facts["witness_agreement"] == 1
    assert facts["output_faults"]["preambles"] == 3
    assert facts["output_rules"] == {"strip": ["preamble"], "stop_repetition": None, "changed": 3}
    assert (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").splitlines() == targets
    assert (tmp_path / "unedited.txt").read_text(encoding="utf-8").splitlines() == said


def test_newline_in_a_reference_does_not_shift_the_lines(
    inputs: dict[str, Any], tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    rows = [row.model_copy(update={"target": f"{row.target}\nzwei"}) for row in manifest.rows[:2]]
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (folder / "audio").symlink_to(tiny_manifest / "audio")
    Manifest(folder, manifest.task, rows).save()
    STAGE.run(inputs | {"data": Artifact(Kind.MANIFEST, folder, "data")}, out, ctx)
    assert len((out / "references.txt").read_text(encoding="utf-8").split("\n")) == 3


def test_first_utterances_are_checked_independently(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    logged: dict[str, float] = {}

    def check(models: Any, manifest: Manifest, stage: Evaluate, device: str) -> list[list[str]]:
        asked.extend(row.id for row in manifest.rows)
        return [stage.translate(stage.load_model(folder, ctx.device), manifest, ctx) for folder, _ in models]

    monkeypatch.setattr("stc.verification.independent.independent_translations", check)
    stage = STAGE.model_copy(update={"witnessed": 3})
    facts = stage.run(inputs, tmp_path, replace(ctx, log=lambda metrics, step=None: logged.update(metrics)))
    assert asked == ["utterance-0", "utterance-1", "utterance-2"]
    assert facts["witness_agreement"] == logged["witness_agreement"] == 1


def test_nothing_is_checked_independently_where_that_is_turned_off(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.verification.independent.independent_translations", None)
    assert "witness_agreement" not in STAGE.run(inputs, tmp_path, ctx)


def with_parts(manifest: Path, folder: Path) -> Manifest:
    """Return the manifest with its second and third utterance as the parts of one, whose texts are the second's."""
    shutil.copytree(manifest, folder)
    found = Manifest.load(folder)
    first, *parts = found.rows[:3]
    texts = {"part_of": "long", "source": parts[0].source, "target": parts[0].target}
    rows = [first, *(part.model_copy(update=texts) for part in parts), *found.rows[3:]]
    changed = Manifest(folder, found.task, rows)
    changed.save()
    return changed


def test_parts_of_an_utterance_are_scored_as_one(
    inputs: dict[str, Any], tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    for name in ("parts", "whole"):
        (tmp_path / name).mkdir()
    STAGE.run(inputs, tmp_path / "whole", ctx)
    first, *parts = (tmp_path / "whole" / "hypotheses.txt").read_text(encoding="utf-8").splitlines()[:3]
    manifest = with_parts(tiny_manifest, tmp_path / "data")
    data = Artifact(Kind.MANIFEST, manifest.folder, "data")
    facts = STAGE.run({**inputs, "data": data}, tmp_path / "parts", ctx)
    lines = (tmp_path / "parts" / "hypotheses.txt").read_text(encoding="utf-8").splitlines()
    assert facts["sentences"] == len(lines) == len(manifest) - 1
    assert lines[:2] == [first, " ".join(filter(None, parts))]
    references = (tmp_path / "parts" / "references.txt").read_text(encoding="utf-8").splitlines()
    assert references[1] == manifest.rows[1].target

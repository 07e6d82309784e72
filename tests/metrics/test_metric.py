"""Custom metrics: the name of a module in the config is enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from own_metrics import add_own_metrics
from pydantic import ValidationError

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.metrics.comparison import compare_systems
from stc.metrics.metric import metric_named, score
from stc.metrics.score_files import Scores
from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.stages.compare import Compare
from stc.stages.evaluate import Evaluate
from stc.store.artifact import Artifact, Kind


@pytest.fixture(autouse=True)
def lab(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    add_own_metrics(tmp_path_factory.mktemp("own"), monkeypatch)


@pytest.fixture
def inputs(tiny_model: Path, tiny_manifest: Path) -> dict[str, Any]:
    return {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }


def evaluate(*metrics: str) -> Evaluate:
    return Evaluate(metrics=list(metrics), dtype="float32", max_new_tokens=8, witnessed=0)


def test_evaluate_scores_by_a_custom_metric_with_the_sources(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context
) -> None:
    facts = evaluate("chrf", "lab.exact", "lab.length").run(inputs, tmp_path, ctx)
    texts = (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").split("\n")[:-1]
    manifest = Manifest.load(inputs["data"].path)
    errors = [abs(len(text) - len(row.source)) / 3 for text, row in zip(texts, manifest.rows, strict=True)]
    assert facts["lab.length"] == pytest.approx(sum(errors) / len(errors))
    kept = Scores.load(tmp_path).metrics
    assert kept["lab.length"].statistics == [[error, 1] for error in errors]
    assert kept["lab.exact"].signature == "exact match in %"


def test_search_removes_the_layer_that_a_custom_metric_chooses(
    inputs: dict[str, Any], tmp_path: Path, ctx: Context
) -> None:
    ctx.scratch.mkdir(exist_ok=True)
    facts = Importance(metric="lab.length", dtype="float32", max_new_tokens=8).run(inputs, tmp_path, ctx)
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    scores = {one["layer"]: one["score"] for one in ranking["candidates"]}
    assert scores[facts["layer"]] == min(scores.values()) < max(scores.values())
    assert ranking["signature"] == "a third of a character"


def test_reference_has_the_lowest_score_where_lower_is_better() -> None:
    references = [f"Satz Nummer {number}" for number in range(40)]
    texts = {
        "teacher": [f"{line}......" for line in references],
        "healed": [f"{line}..." for line in references],
        "pruned": [f"{line}{'.' * (6 + number % 3)}" for number, line in enumerate(references)],
    }
    scores = {name: Scores.of(["lab.length"], lines, references, "de", references) for name, lines in texts.items()}
    layers = {"teacher": 4, "healed": 4, "pruned": 2}
    compared, quality = compare_systems(scores, layers, metric="lab.length", resamples=200, confidence=0.95, seed=0)
    assert (compared["reference"], quality["healed"]["retention"]) == ("healed", 1)
    assert quality["teacher"]["retention"] == pytest.approx(0.5)
    low, high = quality["pruned"]["retention_ci"]
    assert low < quality["pruned"]["retention"] < high < 0.5
    against = {test["against"]: test for test in quality["pruned"]["tests"]}
    assert against["healed"]["value"] > against["teacher"]["value"] > 0
    assert against["healed"]["p_randomization"] < 0.01


def test_retention_with_a_score_of_zero_is_none() -> None:
    assert metric_named("lab.exact").retention(0, 50) == 0
    assert metric_named("lab.exact").retention(50, 0) is None
    assert metric_named("lab.length").retention(0, 50) is metric_named("lab.length").retention(50, 0) is None


def test_metric_that_needs_sources_is_refused_without_them() -> None:
    with pytest.raises(InputError, match=r"lab\.length .*source texts"):
        score("lab.length", ["a"], ["a"], "de")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("chrfpp", r"one of bleu, chrf, chrf_pp, comet \(did you mean 'chrf_pp'\?\)"),
        ("lab.exakt", r"there is no module lab\.exakt"),
        ("lab.nothing", "must define one class"),
    ],
)
def test_unknown_metric_in_a_field_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Compare(metric=name, resamples=50, confidence=0.95, seed=0)


def test_raised_version_is_part_of_the_identity_of_what_is_scored(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Importance(metric="lab.exact", dtype="float32", max_new_tokens=8)
    assert evaluate("chrf", "lab.exact").environment(ctx) == search.environment(ctx) == {}
    monkeypatch.setattr(type(metric_named("lab.exact")), "VERSION", 2)
    assert evaluate("chrf", "lab.exact").environment(ctx) == {"metric_versions": {"lab.exact": 2}}
    assert search.environment(ctx) == {"metric_versions": {"lab.exact": 2}}

"""Scores that were computed elsewhere are tabled and tested as any other metric's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands_without_torch import answers

from stc.data.manifest import Manifest
from stc.evaluate.__main__ import main
from stc.metrics.metric import statistics
from stc.metrics.score_files import Scores

LIMITED = ["--device", "cpu", "--max-new-tokens", "8"]


def scores(folder: Path, **systems: list[float]) -> str:
    """Write scores, of the last system as JSON Lines, and return the pattern of their files."""
    *_, last = systems
    for name, found in systems.items():
        lines = [json.dumps({"segment": number, "score": one}) if name == last else f"{one}"
                 for number, one in enumerate(found)]  # fmt: skip
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(folder / "{system}.txt")


def test_table_and_tests_are_those_of_a_metric_computed_here(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    good = random.uniform(1, 2, size=120).tolist()
    bad = (np.array(good) + random.uniform(0, 1, size=120)).tolist()
    told = [f"good={tiny_model}", f"bad={tiny_model}", "--lang", "de"]
    pattern = scores(tmp_path, good=good, bad=bad)
    assert main([*told, "--scores", f"metricx={pattern}", "--lower-is-better", "metricx", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in content["systems"]}
    assert (content["reference"], content["sentences"]) == ("good", 120)
    assert rows["bad"]["metricx"] == pytest.approx(np.mean(bad))
    assert rows["bad"]["retention"] == pytest.approx(np.mean(good) / np.mean(bad))
    (test,) = rows["bad"]["tests"]
    assert test["p_bootstrap"] < 0.01
    assert test["value"] == pytest.approx(np.mean(bad) - np.mean(good))
    assert main([*told, "--scores", f"other={pattern}"]) == 0
    assert "lower is better" not in capsys.readouterr().out


def test_scores_stand_beside_those_of_translations_made_now(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.load(tiny_manifest)
    pattern = scores(tmp_path, m=[float(number) for number in range(len(manifest))])
    told = [f"m={tiny_model}", "--data", str(tiny_manifest), "--metrics", "chrf", "--output", str(tmp_path), *LIMITED]
    assert main([*told, "--scores", f"human={pattern}", "--json"]) == 0
    (system,) = json.loads(capsys.readouterr().out)["systems"]
    assert system["human"] == pytest.approx(np.mean(range(len(manifest))))
    kept = Scores.load(tmp_path / "m").metrics
    texts = (tmp_path / "m" / "hypotheses.txt").read_text().splitlines()
    assert kept["chrf"].statistics == statistics("chrf", texts, manifest.targets, "de")
    assert kept["human"].statistics == [[number, 1] for number in range(len(manifest))]


def test_scores_at_fault_are_told_before_torch_is_imported(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    pattern = scores(tmp_path, good=[1.0, 2.0], short=[1.0])
    (tmp_path / "words.txt").write_text("1.5\nbad\n")
    (tmp_path / "key.txt").write_text('{"value": 3}\n')
    (tmp_path / "nan.txt").write_text("NaN\n")
    (tmp_path / "none.txt").write_text("\n")
    good, lang = f"good={tiny_model}", ["--lang", "de", "--scores"]
    at_fault = [
        ([f"words={tiny_model}", *lang, f"x={pattern}"], "words.txt, line 2"),
        ([f"key={tiny_model}", *lang, f"x={pattern}"], "key.txt, line 1: a number is needed"),
        ([f"nan={tiny_model}", *lang, f"x={pattern}"], "nan.txt, line 1"),
        ([f"none={tiny_model}", *lang, f"x={pattern}"], "none.txt has no scores"),
        ([f"gone={tiny_model}", *lang, f"x={pattern}"], "gone.txt is missing"),
        ([good, f"short={tiny_model}", *lang, f"x={pattern}"], "short has 1 scores for 2 sentences"),
        ([good, "--data", str(tiny_manifest), "--scores", f"x={pattern}"], "good has 2 scores for 8 sentences"),
        ([good, *lang, f"bleu={pattern}"], "'bleu' is a metric that stc computes"),
    ]
    commands = [arguments for arguments, _ in at_fault]
    for answer, (arguments, message) in zip(answers("stc.evaluate.__main__", commands), at_fault, strict=True):
        assert (answer.code, answer.out) == (1, ""), arguments
        assert message in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scores", "x=a.txt"], "--lang is needed"),
        (["--scores", "x=a.txt", "--lang", "de", "--metrics", "bleu"], "--data or --talks"),
        (["--scores", "x=a.txt", "--lang", "de", "--lower-is-better", "y"], "'y' is none of --scores"),
        (["--scores", "x=a.txt", "--scores", "x=b.txt", "--lang", "de"], "is there twice"),
        (["n=m", "--scores", "x=a.txt", "--lang", "de"], "{system}"),
        (["--scores", "x"], "NAME=FILE"),
    ],
)
def test_arguments_that_do_not_go_together_end_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["m", *arguments])
    assert message in capsys.readouterr().err

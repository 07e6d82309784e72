"""Blind sets, whose references others have: translations go out, and scores come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from talks_with_pauses import PAUSE, SECONDS, Talks

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import read_texts
from stc.evaluate.__main__ import main

LIMITED = ["--device", "cpu", "--max-new-tokens", "8"]


def test_utterances_without_references_are_translated_in_order_and_not_scored(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Manifest.load(tiny_manifest).rows
    lines = [{"audio": str(Path("audio") / Path(row.audio).name), "en": row.source} for row in reversed(rows)]
    (tiny_manifest / "blind.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    told = [f"m={tiny_model}", "--blind", "--output", str(out), *LIMITED, "--json"]
    assert main([*told, "--data", str(tiny_manifest / "blind.jsonl"), "--lang", "de", "--source", "en"]) == 0
    (system,) = json.loads(capsys.readouterr().out)["systems"]
    assert (system["name"], system["sentences"], "chrf" in system) == ("m", len(rows), False)
    assert read_texts(out / "m" / "sources.txt") == [row.source for row in reversed(rows)]
    assert sorted(file.name for file in (out / "m").iterdir()) == ["hypotheses.txt", "sources.txt"]
    blind = read_texts(out / "m" / "hypotheses.txt")
    assert main([f"m={tiny_model}", "--data", str(tiny_manifest), "--output", str(tmp_path / "seen"), *LIMITED]) == 0
    assert blind == read_texts(tmp_path / "seen" / "m" / "hypotheses.txt")[::-1]


def test_segments_that_were_found_in_a_talk_are_listed_beside_their_translations(
    tiny_model: Path, talks: Talks, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    blind = ["--talks", *talks.audio, "--lang", "de", "--blind", "--output", str(out), *LIMITED]
    assert main([f"m={tiny_model}", *blind]) == 0
    segments = yaml.safe_load((out / "m" / "segments.yaml").read_text())
    assert len(segments) == len(read_texts(out / "m" / "hypotheses.txt")) == 5
    assert [one["wav"] for one in segments] == ["b.wav"] * 3 + ["a.wav"] * 2
    offsets = [PAUSE + number * (SECONDS + PAUSE) for number in (0, 1, 2, 0, 1)]
    assert [one["offset"] for one in segments] == pytest.approx(offsets, abs=0.2)
    assert [one["duration"] for one in segments] == pytest.approx([SECONDS] * 5, abs=0.4)


LETTERS = """
from stc.metrics.metric import SentenceMetric


class Letters(SentenceMetric):
    title = "letters"

    times: float = 1.0

    def needs_references(self):
        return False

    def scores(self, hypotheses, references, sources, target_lang):
        return [self.times * len(text) for text in hypotheses]

    def signature(self, target_lang):
        return f"letters times {self.times:g}"
"""


def test_metric_that_needs_no_references_scores_with_its_settings_and_others_are_refused(
    tiny_model: Path,
    tiny_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "blind_lab").mkdir()
    (tmp_path / "blind_lab" / "letters.py").write_text(LETTERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    told = [f"m={tiny_model}", "--data", str(tiny_manifest), "--blind", "--output", str(tmp_path / "out"), *LIMITED]
    times = ["--metric-setting", "blind_lab.letters.times=2.5"]
    assert main([*told, "--metrics", "blind_lab.letters,bleu", *times]) == 1
    assert "bleu compares with references" in capsys.readouterr().err
    assert main([*told, "--metrics", "blind_lab.letters", *times, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    letters = [len(text) for text in read_texts(tmp_path / "out" / "m" / "hypotheses.txt")]
    assert content["systems"][0]["blind_lab.letters"] == pytest.approx(2.5 * np.mean(letters))
    assert content["signatures"] == {"blind_lab.letters": "letters times 2.5"}


def test_translations_are_kept_if_scoring_fails(
    tiny_model: Path,
    tiny_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken_lab").mkdir()
    broken = LETTERS.replace("return [self", "from stc.errors import InputError; raise InputError('broken')  # ")
    (tmp_path / "broken_lab" / "letters.py").write_text(broken)
    monkeypatch.syspath_prepend(str(tmp_path))
    told = [f"m={tiny_model}", "--data", str(tiny_manifest), "--blind", "--output", str(tmp_path / "out"), *LIMITED]
    assert main([*told, "--metrics", "broken_lab.letters"]) == 1
    assert "m: broken" in capsys.readouterr().err
    assert len(read_texts(tmp_path / "out" / "m" / "hypotheses.txt")) == len(Manifest.load(tiny_manifest))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("chrf.times=2", "metrics.settings.chrf.times=2: no such key"),
        ("bleu.times=2", "'bleu' is not scored"),
    ],
)
def test_setting_that_no_metric_has_is_refused(
    setting: str, message: str, tiny_model: Path, tiny_manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [f"m={tiny_model}", "--data", str(tiny_manifest), "--metrics", "chrf", "--metric-setting", setting]
    assert main([*told, *LIMITED]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--blind"], "--blind needs --output"),
        (["--blind", "--output", "o", "--target", "de"], "--target"),
        (["--metric-setting", "comet=x"], "METRIC.KEY=VALUE"),
    ],
)
def test_arguments_that_do_not_go_together_end_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["m", "--data", "d.jsonl", "--lang", "de", *arguments])
    assert message in capsys.readouterr().err

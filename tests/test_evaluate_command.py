"""``python -m stc.evaluate``: model folders, whoever made them, on one data set, side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import soundfile
from commands_without_torch import answers
from own_metrics import add_own_metrics
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.evaluate.__main__ import main
from stc.models.load_and_save import load, save
from stc.quantization.nf4 import NF4

LIMITED = ["--device", "cpu", "--max-new-tokens", "12"]


@pytest.fixture(scope="module")
def packed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nf4") / "packed"
    save(load(tiny_model, device="cpu", dtype="float32", quantize=NF4()), folder)
    return folder


@pytest.fixture(scope="module")
def stranger(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as transformers alone saves it, in float32."""
    folder = tmp_path_factory.mktemp("stranger") / "theirs"
    Qwen2AudioForConditionalGeneration.from_pretrained(tiny_model, dtype="float32").save_pretrained(folder)
    AutoProcessor.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture
def json_lines(tiny_manifest: Path) -> Iterator[Path]:
    """The tiny manifest as a user has it: other keys, no hashes."""
    rows = Manifest.load(tiny_manifest).rows
    lines = [{"file": row.audio, "deutsch": row.target} for row in rows]
    file = tiny_manifest / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    yield file
    file.unlink()


def test_scores_are_those_of_the_translations(
    tiny_model: Path, packed: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"plain={tiny_model}", str(packed), "--data", str(tiny_manifest), "--json"]
    assert main([*arguments, "--output", str(tmp_path), *LIMITED]) == 0
    content = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in content["systems"]}
    manifest = Manifest.load(tiny_manifest)
    for name, folder in (("plain", tiny_model), ("packed", packed)):
        texts = translate(load(folder, device="cpu", dtype="float32"), manifest, batch_size=4, max_new_tokens=12)
        assert rows[name]["bleu"] == sacrebleu.corpus_bleu(texts, [manifest.targets]).score
        assert rows[name]["chrf"] == sacrebleu.corpus_chrf(texts, [manifest.targets]).score
        assert rows[name]["chrf_pp"] == sacrebleu.corpus_chrf(texts, [manifest.targets], word_order=2).score
        kept = (tmp_path / name / "hypotheses.txt").read_text(encoding="utf-8")
        assert kept == "".join(f"{text}\n" for text in texts)
    assert rows["packed"]["params"] == rows["plain"]["params"]
    assert rows["packed"]["bytes_on_disk"] < rows["plain"]["bytes_on_disk"]
    assert (content["metric"], rows[content["reference"]]["retention"]) == ("chrf_pp", 1.0)


def test_metrics_asked_for_are_the_ones_scored_and_retention_is_by_the_first(
    tiny_model: Path,
    tiny_manifest: Path,
    json_lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_own_metrics(tmp_path, monkeypatch)
    asked = [str(tiny_model), "--metrics", "lab.length,bleu", *LIMITED]
    assert main([*asked, "--data", str(tiny_manifest), "--limit", "2", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["metric"], set(content["signatures"])) == ("lab.length", {"lab.length", "bleu"})
    lines = ["--data", str(json_lines), "--lang", "de", "--audio", "file", "--target", "deutsch"]
    assert main([*asked, *lines]) == 1
    assert "--source is needed: lab.length" in capsys.readouterr().err


def test_variant_of_a_language_has_its_metric_and_its_tokenizer(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_manifest, tmp_path / "data")
    (tmp_path / "data" / "task.json").write_text('{"target_lang": "zh_Hant", "target_name": "Chinese"}')
    assert main([str(tiny_model), "--data", str(tmp_path / "data"), "--limit", "1", "--json", *LIMITED]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["metric"], content["target_lang"]) == ("chrf", "zh-Hant")
    assert "|tok:zh|" in content["signatures"]["bleu"]


def test_strangers_folder_and_json_lines_of_other_keys_give_the_same(
    tiny_model: Path, stranger: Path, json_lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["--lang", "de", "--audio", "file", "--target", "deutsch"]
    assert main([str(tiny_model), str(stranger), "--data", str(json_lines), *keys, "--json", *LIMITED]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)["systems"]
    assert ours["chrf_pp"] == theirs["chrf_pp"] > 0
    assert theirs["bytes_on_disk"] > 1.9 * ours["bytes_on_disk"]


def test_model_of_another_language_is_said_and_scored(
    tiny_model: Path, tiny_manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.store.lineage.target_languages", lambda folder: {"zh": "Chinese"})
    assert main([f"mine={tiny_model}", "--data", str(tiny_manifest), "--limit", "1", *LIMITED]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "mine: " in line and "zh, not into de" in line]


def test_table_has_a_row_a_folder_and_no_speed(
    tiny_model: Path, packed: Path, tiny_manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_model), str(packed), "--data", str(tiny_manifest), "--limit", "3", *LIMITED]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["tiny", "packed"]
    assert "3 test sentences are too few" in said.out
    assert "real-time" not in said.out.lower()
    assert "stc: packed: BLEU" in said.err


def test_folder_at_fault_is_named_and_the_others_are_scored(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tiny_model), "--data", str(tiny_manifest), "--json", *LIMITED]) == 1
    said = capsys.readouterr()
    assert [row["name"] for row in json.loads(said.out)["systems"]] == ["tiny"]
    assert f"{tmp_path} has no config.json" in said.err


def test_silent_and_stereo_recordings_are_scored(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "stereo.flac", np.full((48_000, 2), 0.1), 48_000)
    lines = [{"audio": name, "text_de": "Ja."} for name in ("silent.wav", "stereo.flac")]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [str(tiny_model), "--data", str(tmp_path / "mine.jsonl"), "--lang", "de", "--json", *LIMITED]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 2


def test_five_minutes_are_refused_by_id(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(300 * 16_000), 16_000)
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "talk", "audio": "long.wav", "text_de": "Ja."}))
    assert main([str(tiny_model), "--data", str(tmp_path / "mine.jsonl"), "--lang", "de", *LIMITED]) == 1
    assert "utterance 'talk' lasts 300.00 s; the model's window is 2 s" in capsys.readouterr().err


def test_utterance_over_the_window_is_one_line_if_it_is_split_and_the_others_stay_as_they_are(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_manifest, tmp_path / "data")
    rows = Manifest.load(tiny_manifest).rows
    sounds = [soundfile.read(tiny_manifest / row.audio)[0] for row in rows[4:6]]  # 1.2 and 1.4 s
    pause = np.zeros(8_000)
    soundfile.write(tmp_path / "data" / "long.wav", np.concatenate([sounds[0], pause, sounds[1]]), 16_000)
    lines = [{"audio": audio, "text_de": "Ja."} for audio in (rows[0].audio, "long.wav", rows[1].audio)]
    (tmp_path / "data" / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = [f"m={tiny_model}", "--data", str(tmp_path / "data" / "mine.jsonl"), "--lang", "de", *LIMITED]
    assert main([*told, "--output", str(tmp_path / "out"), "--over-window", "split"]) == 0
    assert "translated in parts that were cut in pauses: 1 of 3 utterances" in " ".join(capsys.readouterr().out.split())
    first, long, last = (tmp_path / "out" / "m" / "hypotheses.txt").read_text(encoding="utf-8").splitlines()
    assert long
    translator = load(tiny_model, device="cpu", dtype="float32")
    short = Manifest(tiny_manifest, Manifest.load(tiny_manifest).task, rows[:2])
    assert [first, last] == translate(translator, short, batch_size=4, max_new_tokens=12)


def test_data_at_fault_are_told_before_torch_is_imported(tiny_model: Path, json_lines: Path) -> None:
    at_fault: list[tuple[str, list[str], str]] = [
        ("mine.jsonl", [], "does not say its language: --lang is one of de, zh"),
        ("mine.jsonl", ["--lang", "de", "--audio", "file"], "line 1: nothing under 'text_de'"),
        ("gone.jsonl", ["--lang", "de"], "gone.jsonl is missing; splits found: "),
        ("task.json", ["--lang", "de"], "neither a folder nor the name of a JSON Lines file"),
        ("audio", [], "manifest.jsonl is missing: not a manifest folder"),
        (".", ["--lang", "zh"], "--lang zh: the references of"),
    ]
    commands = [[str(tiny_model), "--data", str(json_lines.parent / data), *options] for data, options, _ in at_fault]
    for answer, (_, _, message) in zip(answers("stc.evaluate.__main__", commands), at_fault, strict=True):
        assert (answer.code, answer.out) == (1, "")
        assert message in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "m", "--data", "d"], "two systems are called 'm'"),
        (["a/b=m", "--data", "d"], "'a/b'"),
        (["m"], "--data"),
    ],
)
def test_arguments_at_fault_end_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err

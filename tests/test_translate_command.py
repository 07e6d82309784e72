"""``python -m stc.translate``: recordings of any kind and length go in, text, JSON Lines or SRT comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands_without_torch import answers

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.models.load_and_save import load, save
from stc.quantization.nf4 import NF4
from stc.translate import main

LIMITED = ["--lang", "de", "--device", "cpu", "--max-new-tokens", "12"]


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def expected(tiny_model: Path, tiny_manifest: Path) -> list[str]:
    """What stc's stages make of the tiny manifest."""
    translator = load(tiny_model, device="cpu", dtype="float32")
    return translate(translator, Manifest.load(tiny_manifest), batch_size=4, max_new_tokens=12)


def test_folder_of_audio_is_translated_as_the_stages_do(
    tiny_model: Path, tiny_manifest: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_model), str(tiny_manifest), *LIMITED, "--batch-size", "3"]) == 0
    said = capsys.readouterr()
    assert said.out == "".join(f"{text}\n" for text in expected)
    assert said.err == ""


def test_one_bad_file_is_named_and_the_others_are_translated(
    tiny_model: Path, tiny_manifest: Path, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio at all")
    audio = [str(path) for path in Manifest.load(tiny_manifest).audio_paths()]
    assert main([str(tiny_model), audio[0], str(bad), audio[1], *LIMITED]) == 1
    said = capsys.readouterr()
    assert said.out == f"{expected[0]}\n\n{expected[1]}\n"
    assert f"stc: {bad} cannot be decoded as audio" in said.err
    assert "1 of 3 recordings could not be translated" in said.err
    assert "Traceback" not in said.err


def test_whatever_cannot_be_read_stops_no_other_recording(
    tiny_model: Path, tiny_manifest: Path, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        name: tmp_path / name for name in ("gone.wav", "pipe.wav", "device.wav", "loop.wav", "rate.wav", "empty.raw")
    }
    os.mkfifo(bad["pipe.wav"])
    bad["device.wav"].symlink_to("/dev/zero")
    bad["loop.wav"].symlink_to("loop.wav")
    soundfile.write(bad["rate.wav"], tone(0.1), 1)
    bad["empty.raw"].write_bytes(b"")
    audio = [str(path) for path in Manifest.load(tiny_manifest).audio_paths()]
    assert main([str(tiny_model), audio[0], *map(str, bad.values()), audio[1], *LIMITED]) == 1
    said = capsys.readouterr()
    assert said.out == f"{expected[0]}\n" + "\n" * len(bad) + f"{expected[1]}\n"
    assert [name for name in bad if f"stc: {bad[name]} " not in said.err] == []
    assert f"{len(bad)} of {len(bad) + 2} recordings could not be translated" in said.err


def test_a_folder_s_recordings_that_cannot_be_read_keep_their_lines(
    tiny_model: Path, tiny_manifest: Path, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = Manifest.load(tiny_manifest).audio_paths()
    for number, path in ((1, audio[0]), (10, audio[1])):
        (tmp_path / f"{number}.wav").write_bytes(path.read_bytes())
    (tmp_path / "2.wav").symlink_to("2.wav")
    (tmp_path / "3.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "4.wav")
    assert main([str(tiny_model), str(tmp_path), *LIMITED]) == 1
    assert capsys.readouterr().out == f"{expected[0]}\n\n\n\n{expected[1]}\n"


def test_audio_comes_from_standard_input_of_a_process(
    tiny_model: Path, tiny_manifest: Path, expected: list[str]
) -> None:
    content = Manifest.load(tiny_manifest).audio_paths()[2].read_bytes()
    command = [sys.executable, "-m", "stc.translate", str(tiny_model), "-", *LIMITED]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{expected[2]}\n", b"")


def test_folder_in_4_bits_is_used_as_it_is(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(load(tiny_model, device="cpu", dtype="float32", quantize=NF4()), tmp_path / "nf4")
    manifest = Manifest.load(tiny_manifest)
    packed = translate(load(tmp_path / "nf4", device="cpu", dtype="float32"), manifest, batch_size=4, max_new_tokens=12)
    assert main([str(tmp_path / "nf4"), str(tiny_manifest), *LIMITED]) == 0
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in packed)


def test_five_minutes_are_cut_in_pauses_and_every_segment_has_its_time(tiny_model: Path, tmp_path: Path) -> None:
    silence = np.zeros(11_025)
    soundfile.write(tmp_path / "long.wav", np.concatenate([tone(1.5, 22_050), silence] * 150), 22_050)
    arguments = [str(tiny_model), str(tmp_path / "long.wav"), "--format", "srt", "--output", str(tmp_path / "long.srt")]
    how = ["--lang", "de", "--device", "cpu", "--max-new-tokens", "4", "--batch-size", "32"]
    assert main([*arguments, *how]) == 0
    blocks = (tmp_path / "long.srt").read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")
    assert [int(block.split("\n")[0]) for block in blocks] == list(range(1, 151))
    for number, block in enumerate(blocks):
        start, end = (_seconds(time) for time in block.split("\n")[1].split(" --> "))
        assert 2 * number - 0.2 < start <= 2 * number
        assert 2 * number + 1.5 <= end < 2 * number + 1.75


def test_files_of_a_folder_come_by_their_numbers_and_another_language_is_said(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (10, 9, 1):
        soundfile.write(tmp_path / f"sent_{number}.wav", np.zeros(1_600), 16_000)
    monkeypatch.setattr("stc.store.lineage.target_languages", lambda folder: {"zh": "Chinese"})
    assert main([str(tiny_model), str(tmp_path), *LIMITED, "--format", "jsonl"]) == 0
    said = capsys.readouterr()
    names = [Path(json.loads(line)["audio"]).stem for line in said.out.splitlines()]
    assert names == ["sent_1", "sent_9", "sent_10"]
    assert "was trained to translate into zh, not into de" in said.err


def test_files_of_a_folder_come_in_the_order_of_file_order(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("c.wav", "a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(1_600), 16_000)
    (tmp_path / "FILE_ORDER").write_text("b\nc.wav\na\n")
    assert main([str(tiny_model), str(tmp_path), *LIMITED, "--format", "jsonl"]) == 0
    said = capsys.readouterr()
    assert [Path(json.loads(line)["audio"]).stem for line in said.out.splitlines()] == ["b", "c", "a"]
    (tmp_path / "FILE_ORDER").write_text("b\nc\n")
    assert main([str(tiny_model), str(tmp_path), *LIMITED]) == 1
    assert "does not name 'a.wav'" in capsys.readouterr().err


def test_noise_is_not_translated_where_voice_activity_is_asked_of_the_model(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * 16_000)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    for method, silent in (("silero", True), ("energy", False)):
        assert main([str(tiny_model), str(tmp_path / "noise.wav"), *LIMITED, "--segmentation", method]) == 0
        said = capsys.readouterr()
        assert (said.out == "\n", "is silent" in said.err) == (silent, silent)


def _seconds(time: str) -> float:
    hours, minutes, seconds = time.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def test_sound_without_pause_is_cut_with_a_warning(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(5), 16_000)
    assert main([str(tiny_model), str(tmp_path / "tone.wav"), *LIMITED]) == 0
    assert "tone.wav has no pause to be cut in and is cut at " in capsys.readouterr().err


def test_silence_is_an_empty_line_with_a_note(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    assert main([str(tiny_model), str(tmp_path / "silent.wav"), *LIMITED]) == 0
    said = capsys.readouterr()
    assert (said.out, "silent.wav is silent" in said.err) == ("\n", True)


def test_truncated_recording_is_translated_as_far_as_it_goes_with_a_note(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cut.wav"
    soundfile.write(file, tone(2), 16_000)
    file.write_bytes(file.read_bytes()[:32_044])
    assert main([str(tiny_model), str(file), *LIMITED, "--format", "jsonl"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["seconds"] == 1.0
    assert "cut.wav is cut short" in said.err


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_stereo_at_48_khz_is_translated_in_every_format(
    tiny_model: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = np.stack([tone(1, 48_000), tone(1, 48_000)], axis=1)
    soundfile.write(tmp_path / f"a.{suffix}", both, 48_000)
    assert main([str(tiny_model), str(tmp_path / f"a.{suffix}"), *LIMITED, "--format", "jsonl"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["seconds"] == pytest.approx(1.0, abs=0.1)
    assert line["text"]


def test_output_folder_mirrors_the_input_folder(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in/day 1").mkdir(parents=True)
    soundfile.write(tmp_path / "in/a.wav", tone(1), 16_000)
    soundfile.write(tmp_path / "in/day 1/a.flac", tone(0.5), 16_000)
    (tmp_path / "in/notes.md").write_text("no audio")
    assert main([str(tiny_model), str(tmp_path / "in"), *LIMITED, "--output", f"{tmp_path / 'out'}/"]) == 0
    made = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert made == ["a.txt", "day 1/a.txt"]


def test_output_that_cannot_come_about_leaves_what_was_there(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("made before")
    arguments = [str(tiny_model), str(tmp_path / "gone.wav"), *LIMITED, "--output", str(tmp_path / "out.txt")]
    assert main(arguments) == 1
    assert (tmp_path / "out.txt").read_text() == "made before"


def test_model_of_a_store_is_asked_for_the_language_it_was_trained_for(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5), 16_000)
    rest = [str(tiny_model), str(tmp_path / "a.wav"), *LIMITED[2:]]
    for trained, lang in (({"zh": "Chinese"}, "zh"), ({"de": "German"}, "de")):
        with monkeypatch.context() as known:
            known.setattr("stc.translate.target_languages", lambda folder, found=trained: found)
            assert main(rest) == 0
        by_itself = capsys.readouterr().out
        assert main([*rest, "--lang", lang]) == 0
        assert capsys.readouterr().out == by_itself


def test_model_of_an_unknown_language_needs_one(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5), 16_000)
    assert main([str(tiny_model), str(tmp_path / "a.wav")]) == 1
    assert "--lang" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "b.wav", "--format", "srt"], "--format srt of 2 recordings needs a folder"),
        (["a.wav", "a.flac", "--output", "out/"], "a.wav and a.flac would both be written to"),
        (["a.wav", "--output", "a.wav"], "a.wav is one of the recordings"),
        (["a.wav", "--output", "no/such/out.txt"], "there is no folder no/such"),
        (["-", "-"], "read only once"),
        (["a.wav", "--longest", "0"], "number of seconds"),
        (["a.wav", "--batch-size", "x"], "whole number"),
        (["a.wav", "--lang", "fr"], "language 'fr': one of de, zh"),
    ],
)
def test_arguments_at_fault_end_with_code_2_before_anything_is_computed(
    tiny_model: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", (tmp_path / "stdin").open("w+"))
    for name in ("a.wav", "b.wav", "a.flac"):
        soundfile.write(name, tone(0.5), 16_000)
    with pytest.raises(SystemExit, match="2"):
        main([str(tiny_model), *arguments] if "--lang" in arguments else [str(tiny_model), *arguments, "--lang", "de"])
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_not_there_is_named_without_importing_torch(tiny_model: Path, tmp_path: Path) -> None:
    missing = {
        ("no/model", "a.wav"): "no/model is not a folder: a model is a Hugging Face folder",
        (str(tiny_model), "gone.wav"): "gone.wav is missing",
        (str(tiny_model), "."): "has no audio files",
    }
    commands = [[model, str(tmp_path / audio), "--lang", "de"] for model, audio in missing]
    for answer, message in zip(answers("stc.translate", commands), missing.values(), strict=True):
        assert (answer.code, answer.out) == (1, "")
        assert message in answer.err

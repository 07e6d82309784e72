"""Whole talks are translated in segments that are given or found, and scored by the lines of their references."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from commands_without_torch import answers
from talks_with_pauses import Talks

from stc.config.languages import load_language
from stc.decoding.greedy import translate_audio
from stc.decoding.hypotheses import read_texts
from stc.evaluate.__main__ import main
from stc.models.load_and_save import load

LIMITED = ["--lang", "de", "--device", "cpu", "--max-new-tokens", "16"]


@pytest.fixture
def expected(tiny_model: Path, talks: Talks) -> list[str]:
    """The translation of each segment for itself, in the order of FILE_ORDER."""
    translator = load(tiny_model, device="cpu", dtype="float32")
    ids = [str(number) for number in range(len(talks.parts))]
    audio = [(np.rint(part * 2**15) / 2**15).astype(np.float32) for part in talks.parts]  # as a file has it
    return translate_audio(translator, load_language("de").task, ids, audio, batch_size=4, max_new_tokens=16)


def evaluate(model: Path, output: Path, *arguments: str) -> list[str]:
    """Run the command and return the translations that it kept."""
    assert main([f"m={model}", "--output", str(output), *LIMITED, *arguments]) == 0
    return read_texts(output / "m" / "hypotheses.txt")


def test_segments_of_a_list_have_a_line_each_in_the_order_of_file_order(
    tiny_model: Path, talks: Talks, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    references = talks.write("de", [*expected[3:], *expected[:3]])  # lines are those of the list
    listed = ["--data", talks.listed, "--references", references, "--json"]
    assert evaluate(tiny_model, tmp_path / "out", *listed) == expected
    content = json.loads(capsys.readouterr().out)
    assert (content["sentences"], content["systems"][0]["chrf"]) == (5, pytest.approx(100))


@pytest.mark.parametrize("segmentation", [[], ["--segmentation", "energy"]])
def test_translation_of_whole_talks_is_divided_into_the_lines_of_the_references(
    segmentation: list[str],
    tiny_model: Path,
    talks: Talks,
    expected: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = evaluate(tiny_model, tmp_path / "blind", "--talks", *talks.audio, "--blind", *segmentation)
    assert len(found) == len(expected)
    # Lines that end elsewhere than the segments do.
    words = [" ".join(found[:3]).split(), " ".join(found[3:]).split()]
    assert all(len(some) > 2 for some in words)
    lines = [[some[0], " ".join(some[1:])] for some in words]
    references = [talks.write(name, some) for name, some in zip(("b.de", "a.de"), lines, strict=True)]
    capsys.readouterr()
    told = ["--talks", *talks.audio, "--references", *references, "--json", *segmentation]
    divided = evaluate(tiny_model, tmp_path / "out", *told)
    assert [line.split() for line in divided] == [line.split() for line in [*lines[0], *lines[1]]]
    assert json.loads(capsys.readouterr().out)["systems"][0]["chrf"] == pytest.approx(100)


def test_list_of_segments_is_cut_otherwise_if_asked(
    tiny_model: Path, talks: Talks, expected: list[str], tmp_path: Path
) -> None:
    references = ["--references", talks.write("de", [*expected[3:], *expected[:3]])]
    entries = yaml.safe_load(Path(talks.listed).read_text())
    other = talks.folder / "other.yaml"
    other.write_text(yaml.safe_dump([entries[2], entries[3], entries[0]]))  # b.wav: the first two; a.wav: the first
    found = evaluate(tiny_model, tmp_path / "out", "--data", talks.listed, *references, "--segmentation", str(other))
    assert len(found) == 5
    assert " ".join(found[:3]).split() == " ".join(expected[:2]).split()
    assert " ".join(found[3:]).split() == expected[3].split()


def test_segment_over_the_window_is_cut_in_pauses_and_stays_one_line(
    tiny_model: Path, talks: Talks, expected: list[str], tmp_path: Path
) -> None:
    seconds = soundfile.info(talks.audio[0]).duration
    listed = talks.folder / "whole.yaml"
    listed.write_text(yaml.safe_dump([{"wav": "b.wav", "offset": 0.0, "duration": seconds}]))
    (talks.folder / "FILE_ORDER").unlink()
    (found,) = evaluate(tiny_model, tmp_path / "out", "--data", str(listed), "--blind")
    by_pauses = evaluate(tiny_model, tmp_path / "talk", "--talks", talks.audio[0], "--blind")
    assert len(by_pauses) == 3
    assert found.split() == " ".join(by_pauses).split()


def test_transcripts_are_the_sources_of_a_metric_that_reads_them(
    tiny_model: Path, talks: Talks, expected: list[str], tmp_path: Path
) -> None:
    lines = [f"line {number}" for number in range(5)]
    texts = ["--references", talks.write("de", expected), "--sources", talks.write("en", lines)]
    evaluate(tiny_model, tmp_path / "out", "--data", talks.listed, *texts)
    assert read_texts(tmp_path / "out" / "m" / "sources.txt") == [*lines[2:], *lines[:2]]


def test_talks_at_fault_are_told_before_torch_is_imported(tiny_model: Path, talks: Talks) -> None:
    five, three = talks.write("five", ["Ja."] * 5), talks.write("three", ["Ja."] * 3)
    apart = talks.folder / "apart"  # without FILE_ORDER
    apart.mkdir()
    beyond = talks.write("apart/beyond.yaml", ["- {wav: a.wav, offset: 3.0, duration: 9.0}"])
    entries = yaml.safe_load(Path(talks.listed).read_text())
    (apart / "talks.yaml").write_text(yaml.safe_dump([entries[0], entries[2], entries[1]]))
    listed, given = ["--data", talks.listed], ["--talks", *talks.audio]
    at_fault = [
        ([*listed, "--references", three], "three has 3 lines for 5 segments"),
        ([*listed, "--references", str(talks.folder / "none")], "none is missing"),
        ([*listed, "--references", five, "--audio", str(apart)], "b.wav is missing"),
        (["--data", str(talks.folder / "no.yaml"), "--references", five], "no.yaml is missing"),
        (["--data", beyond, "--references", talks.write("one", ["Ja."]), "--audio", str(talks.folder)],
         "a.wav from 3 s to 12 s is not in the talk, which lasts 4.80 s"),
        (["--data", str(apart / "talks.yaml"), "--audio", str(talks.folder), "--references", three,
          "--segmentation", "energy"], "a.wav is there more than once"),
        ([*given, "--references", five], "a file for each of 2 talks is needed, not 1"),
        ([*given, "--references", five, three, "--segmentation", beyond], "has no segment of b.wav"),
        ([*given, "--references", five, three, "--sources", five, five], "five has 5 lines for 3 lines"),
        ([*given, "--references", five, three, "--metrics", "comet"], "--sources is needed: comet"),
        ([*given, str(talks.folder / "c.wav"), "--references", five, five, five], "c.wav is missing"),
    ]  # fmt: skip
    commands = [[str(tiny_model), "--lang", "de", *arguments] for arguments, _ in at_fault]
    for answer, (arguments, message) in zip(answers("stc.evaluate.__main__", commands), at_fault, strict=True):
        assert (answer.code, answer.out) == (1, ""), arguments
        assert message in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "t.yaml", "--talks", "a.wav"], "--data and --talks"),
        (["--data", "t.yaml"], "--references FILE or --blind"),
        (["--talks", "a.wav", "--references", "a.de", "--blind", "--output", "o"], "--references FILE or --blind"),
        (["--data", "t.yaml", "--references", "a", "b"], "one file each"),
        (["--data", "t.yaml", "--references", "a", "--limit", "3"], "--limit is for utterances"),
        (["--data", "d.jsonl", "--segmentation", "energy"], "--segmentation is for talks"),
        (["--talks", "a.wav", "--references", "a", "--longest", "0"], "seconds"),
    ],
)
def test_arguments_that_do_not_go_together_end_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["m", "--lang", "de", *arguments])
    assert message in capsys.readouterr().err

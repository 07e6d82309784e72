"""Hand-ins for IWSLT 2026, by the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from segments_folder import TALKS, write_segments

from stc.data.manifest import Manifest
from stc.data.sources import Columns
from stc.decoding.hypotheses import TranslationSettings, read_texts
from stc.decoding.options import OutputRules
from stc.decoding.output_formats import join_segments
from stc.evaluate.__main__ import main as evaluate
from stc.models.folder import ModelFolder
from stc.models.language_pair import Task
from stc.pipeline.stage import Context
from stc.stages.manifest import read_data
from stc.submit.__main__ import main
from stc.translate import main as translate

EVALUATED = TranslationSettings(dtype="float32", max_new_tokens=12)


def hand_in(run: Path, out: Path, *more: str) -> int:
    return main([str(run), "--task", "iwslt2026", "--team", "KIT", "--output", str(out), "--device", "cpu", *more])


def last_system(run: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((run / "result.json").read_text())["systems"][-1]
    return found


@pytest.fixture
def audio_only(tiny_manifest: Path) -> Path:
    """A test set without texts, in another order than the manifest's."""
    rows = [{"audio": row.audio} for row in Manifest.load(tiny_manifest).rows[5:2:-1]]
    file = tiny_manifest / "blind.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_hand_in_has_the_translations_of_the_run_under_the_names_of_the_task(good: Path, finished_run: Path) -> None:
    assert {file.name for file in good.iterdir()} == {"test.en-de.txt", "description.md", "description.json"}
    assert (good / "test.en-de.txt").read_bytes() == Path(last_system(finished_run)["hypotheses"]).read_bytes()
    stated = json.loads((good / "description.json").read_text())
    assert stated["model_name"] == "KIT_IWSLT26_ModelCompression_en-de_constrained_primary"


def test_description_states_size_parameters_and_how_the_model_was_made(good: Path, finished_run: Path) -> None:
    model = ModelFolder.of(Path(last_system(finished_run)["model_dir"]))
    stated = json.loads((good / "description.json").read_text())
    files = [file for file in model.path.iterdir() if file.name != "stc.record.json"]
    assert stated["storage_bytes"] == sum(file.stat().st_size for file in files)
    assert (stated["weight_bytes"], stated["parameters"]) == (model.weight_bytes, model.counts.parameters)
    assert stated["packed_elements"] == model.counts.packed_elements
    assert stated["datasets"] == ["acl6060"]
    techniques = " ".join(stated["techniques"])
    assert all(one in techniques for one in ("1 of 6 decoder layers removed", "`greedy`", "by int8"))
    text = (good / "description.md").read_text()
    assert all(str(stated[key]) in text for key in ("model_name", "storage_bytes", "weight_bytes", "parameters"))


def test_further_test_sets_are_translated_by_the_model_in_the_order_of_their_lines(
    finished_run: Path, audio_only: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    out = tmp_path / "out"
    asked = ["--test", f"blind={audio_only}", "--test", "dev", "--test", f"again={tiny_manifest}"]
    assert hand_in(finished_run, out, *asked) == 0
    whole = Manifest.load(tiny_manifest)
    model = EVALUATED.load_model(Path(last_system(finished_run)["model_dir"]), "cpu")
    blind = Manifest(whole.folder, whole.task, whole.rows[5:2:-1])
    assert read_texts(out / "blind.en-de.txt") == EVALUATED.translate(model, blind, ctx)
    assert read_texts(out / "dev.en-de.txt") == read_texts(out / "again.en-de.txt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "scratch"]


def test_rules_by_which_the_run_edited_texts_are_applied_to_further_test_sets_and_stated(
    finished_run: Path, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutputRules, "apply", lambda rules, text: f"{rules.stop_repetition} {text}")
    asked = ["--system", "prune", "--test", "own", "--test", f"dev={tiny_manifest}"]
    assert hand_in(finished_run, tmp_path / "out", *asked) == 0
    own, dev = (read_texts(tmp_path / f"out/{name}.en-de.txt") for name in ("own", "dev"))
    assert dev == [f"2 {text}" for text in own]
    stated = json.loads((tmp_path / "out/description.json").read_text())
    assert stated["removed_from_texts"] == {"stop_repetition": 2}
    assert "stop_repetition 2" in (tmp_path / "out/description.md").read_text()


def test_recordings_longer_than_the_window_are_cut_as_the_command_translate_cuts_them_and_no_others(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ctx: Context
) -> None:
    random = np.random.default_rng(0)
    for name, seconds in (("talk.wav", 5), ("short.wav", 1)):
        loud = np.sin(np.arange(seconds * 16_000) / 4000) > 0
        soundfile.write(tmp_path / name, 0.2 * random.standard_normal(len(loud)) * loud, 16_000)
    (tmp_path / "talks.jsonl").write_text('{"audio": "talk.wav"}\n{"audio": "short.wav"}\n')
    assert hand_in(finished_run, tmp_path / "out", "--test", f"talks={tmp_path}/talks.jsonl") == 0
    told = capsys.readouterr().err
    assert ("talk.wav" in told, "short.wav" in told) == (True, False)
    folder = last_system(finished_run)["model_dir"]
    recording = str(tmp_path / "talk.wav")
    assert translate([folder, recording, "--lang", "de", "--device", "cpu", "--max-new-tokens", "12"]) == 0
    cut, whole = read_texts(tmp_path / "out/talks.en-de.txt")
    assert f"{cut}\n" == capsys.readouterr().out
    task = Task(target_lang="de", target_name="German")
    data = read_data(tmp_path / "talks.jsonl", Columns(audio="audio", source="audio", target="audio"), task)
    alone = Manifest(data.folder, task, data.rows[1:])
    assert [whole] == EVALUATED.translate(EVALUATED.load_model(Path(folder), "cpu"), alone, ctx)


def test_constrained_track_refuses_other_data_than_acl6060(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert hand_in(run, out, "--dataset", "CoVoST 2") == 1
    assert "ACL 60/60 only, and the model was made with acl6060, CoVoST 2" in capsys.readouterr().err
    assert not out.exists()
    assert hand_in(run, out, "--dataset", "CoVoST 2", "--track", "unconstrained", "--contrastive", "2") == 0
    stated = json.loads((out / "description.json").read_text())
    assert stated["datasets"] == ["acl6060", "CoVoST 2"]
    assert stated["model_name"] == "KIT_IWSLT26_ModelCompression_en-de_unconstrained_contrastive2"


def test_talks_with_a_list_of_their_segments_give_a_line_a_segment_in_the_order_of_talks(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segments(tmp_path / "data")
    listed = tmp_path / "data/test/txt/test.yaml"
    out = tmp_path / "out"
    assert hand_in(finished_run, out, "--test", f"talks={listed}") == 0
    assert main(["--check", str(out), "--test", f"talks={listed}"]) == 0
    model = last_system(finished_run)["model_dir"]
    wav = str(tmp_path / "data/test/wav")
    asked = ["--data", str(listed), "--audio", wav, "--lang", "de", "--blind", "--output", str(tmp_path / "blind")]
    assert evaluate([f"m={model}", *asked, "--device", "cpu", "--max-new-tokens", "12"]) == 0
    texts = read_texts(out / "talks.en-de.txt")
    assert texts == read_texts(tmp_path / "blind/m/hypotheses.txt")
    order = listed.parent.parent / "FILE_ORDER"
    order.write_text("\n".join(reversed(order.read_text().split())))
    assert hand_in(finished_run, tmp_path / "other", "--test", f"talks={listed}") == 0
    first = sum(TALKS.values()) - [*TALKS.values()][-1]
    assert read_texts(tmp_path / "other/talks.en-de.txt") == [*texts[first:], *texts[:first]]
    capsys.readouterr()
    (listed.parent.parent / "wav" / next(iter(TALKS))).unlink()
    assert hand_in(finished_run, tmp_path / "third", "--test", f"talks={listed}") == 1
    assert next(iter(TALKS)) in capsys.readouterr().err


def test_an_utterance_that_was_cut_into_parts_is_one_line(
    finished_run: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_manifest, tmp_path / "data"))
    whole = Manifest.load(data)
    parts = [row.model_copy(update={"part_of": "long"}) for row in whole.rows[:2]]
    Manifest(data, whole.task, [*parts, *whole.rows[2:]]).save()
    assert hand_in(finished_run, tmp_path / "out", "--test", "own", "--test", f"cut={data}") == 0
    assert main(["--check", str(tmp_path / "out"), "--test", f"cut={data}"]) == 0
    own, cut = (read_texts(tmp_path / f"out/{name}.en-de.txt") for name in ("own", "cut"))
    assert cut == [join_segments(own[:2]), *own[2:]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: acl6060", "name: null", "name them with --dataset NAME"),
        (
            "name: acl6060",
            "name: acl6060, mix: {more: {name: covost2}, other: {name: null}}",
            "acl6060, covost2, other:",
        ),
        ("code: de", "code: fr", "translates en-fr: the task has en-de, en-ar, en-zh"),
        ("lang: {code: de, name: German}", "", "the target language is not known"),
    ],
)
def test_run_that_does_not_fit_the_task_is_refused(
    old: str, new: str, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / ".hydra/config.yaml"
    config.write_text(config.read_text().replace(old, new))
    assert hand_in(run, tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (" ", "test.en-de.txt, line 3 (segment 3) is empty"),
        ("Ein\u2028Satz", "test.en-de.txt, line 3 (segment 3) has a line break in it"),
        ("\ufeffEin Satz", "test.en-de.txt, line 3 (segment 3) begins with a byte order mark"),
        ("Ein\nSatz", "test.en-de.txt has 9 lines for 8 segments"),
    ],
)
def test_wrong_translation_is_refused_by_file_and_line_and_nothing_is_written(
    line: str, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(last_system(run)["hypotheses"])
    file.write_text("".join(f"{line if at == 2 else text}\n" for at, text in enumerate(read_texts(file))))
    assert hand_in(run, tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_empty_translations_are_handed_in_if_asked_for_and_listed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(last_system(run)["hypotheses"])
    file.write_text("".join(f"{'' if at == 2 else text}\n" for at, text in enumerate(read_texts(file))))
    assert hand_in(run, tmp_path / "out", "--allow-empty") == 0
    assert json.loads((tmp_path / "out/description.json").read_text())["test_sets"][0]["empty_lines"] == [3]
    assert "note: test.en-de.txt, line 3: is empty" in capsys.readouterr().out


def test_translations_of_a_refused_hand_in_are_not_made_again(
    run: Path, audio_only: Path, tmp_path: Path, passes: list[int]
) -> None:
    file = Path(last_system(run)["hypotheses"])
    before = file.read_text()
    file.write_text(before + "one more\n")
    asked = ["--test", "dev", "--test", f"blind={audio_only}"]
    assert hand_in(run, tmp_path / "out", *asked) == 1
    assert sum(passes) == 3
    file.write_text(before)
    assert hand_in(run, tmp_path / "out", *asked) == 0
    assert sum(passes) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--team", "my_team"], "--team 'my_team': a short name of letters"),
        (["--test", "a/b"], "--test a/b: a name of letters"),
        (["--test", "a", "--test", "a"], "--test a is there twice"),
        (["--test", "a=gone.jsonl"], "gone.jsonl is missing"),
        (["--system", "quantise"], "did you mean 'quantize'"),
    ],
)
def test_wrong_argument_is_one_line_with_the_argument(
    arguments: list[str], message: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hand_in(finished_run, tmp_path / "out", *arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_folder_that_is_taken_or_no_run_is_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert hand_in(finished_run, tmp_path) == 1
    assert "already exists" in capsys.readouterr().err
    assert hand_in(finished_run, tmp_path / "file/out") == 1
    assert f"{tmp_path}/file is no folder" in capsys.readouterr().err
    assert hand_in(tmp_path, tmp_path / "out") == 1
    assert "is not the folder of a run" in capsys.readouterr().err


def test_test_set_in_another_language_is_refused(
    run: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / ".hydra/config.yaml"
    config.write_text(config.read_text().replace("code: de", "code: zh"))
    assert hand_in(run, tmp_path / "out", "--test", f"dev={tiny_manifest}") == 1
    assert "it is in 'de', and the model translates into 'zh'" in capsys.readouterr().err

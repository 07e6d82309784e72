"""The functions of the package itself do what the commands do, for notebooks and scripts."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import stc
from stc.data.manifest import Manifest
from stc.errors import ConfigError, InputError, ModelError
from stc.store.artifact import Kind
from stc.system.paths import ROOT

SMALL = ["data=talks", "data.limit=3", "tracking=none", "pipeline.outputs=[test]"]


def test_every_function_says_what_it_does() -> None:
    functions = [getattr(stc, name) for name in stc.__all__]
    assert all(inspect.getdoc(function) for function in functions)


def test_importing_stc_imports_no_heavy_library() -> None:
    code = "import stc, sys; print([name for name in ('torch', 'transformers', 'mlflow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_translations_are_those_of_the_model_and_the_texts_of_a_talk_are_one(
    tiny_model: Path, tiny_manifest: Path
) -> None:
    model = stc.load_model(tiny_model, device="cpu")
    paths = Manifest.load(tiny_manifest).audio_paths()[:3]
    texts = stc.translate_recordings(model, paths, "de", max_new_tokens=8)
    assert texts == [stc.translate_recordings(model, [path], "de", max_new_tokens=8)[0] for path in paths]


def test_recording_that_cannot_be_read_is_named(tiny_model: Path, tmp_path: Path) -> None:
    model = stc.load_model(tiny_model, device="cpu")
    with pytest.raises(InputError, match=r"gone\.wav"):
        stc.translate_recordings(model, [tmp_path / "gone.wav"], "de")


def test_pruned_model_is_saved_loaded_and_smaller(tiny_model: Path, tmp_path: Path) -> None:
    model = stc.load_model(tiny_model, device="cpu")
    stc.remove_layers(model, [2, 3])
    stc.save_model(model, tmp_path / "pruned")
    before, after = stc.model_size(tiny_model), stc.model_size(tmp_path / "pruned")
    assert after.decoder_layers == before.decoder_layers - 2
    assert after.parameters < before.parameters
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(8_000) / 9), 16_000)
    again = stc.load_model(tmp_path / "pruned", device="cpu")
    assert len(stc.translate_recordings(again, [tmp_path / "a.wav"], "zh", max_new_tokens=4)) == 1


def test_protected_layer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError):
        stc.remove_layers(stc.load_model(tiny_model, device="cpu"), [0])


def test_quantized_folder_has_fewer_bytes_and_its_settings(tiny_model: Path, tmp_path: Path) -> None:
    parts = {"encoder": "bfloat16", "projector": "bfloat16", "decoder": "nf4"}
    stc.quantize_model(tiny_model, tmp_path / "nf4", parts=parts)
    assert stc.model_size(tmp_path / "nf4").bytes_on_disk < stc.model_size(tiny_model).bytes_on_disk
    with pytest.raises(ConfigError):
        stc.quantize_model(tiny_model, tmp_path / "no", method="nf3")


def test_equal_texts_score_100() -> None:
    assert stc.score_texts("chrf_pp", ["Guten Morgen."], ["Guten Morgen."], "de") == pytest.approx(100)


@pytest.mark.skipif(not (ROOT / "assets" / "base" / "config.json").exists(), reason="the shipped base is not here")
def test_run_is_planned_run_and_read_again(tmp_path: Path) -> None:
    arguments = [*SMALL, f"store.dir={tmp_path / 'store'}"]
    assert "test" in stc.plan_run(*arguments)
    result = stc.run_config(*arguments, folder=tmp_path / "run")
    assert stc.read_result(tmp_path / "run") == result
    (identity,) = (stage["identity"] for stage in result["stages"])
    assert stc.open_store(tmp_path / "store").record(Kind.MANIFEST, identity) is not None


def test_sweep_is_left_to_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        stc.run_config("-m", "lang=de,zh", *SMALL, folder=tmp_path)


def test_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finished run"):
        stc.read_result(tmp_path)


def example(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_example_with_a_model_of_one_s_own_ends_with_three_sizes(
    tiny_model: Path,
    tiny_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording = Manifest.load(tiny_manifest).audio_paths()[0]
    arguments = (tiny_model, tmp_path, "--remove", 2, 3, "--recording", recording)
    example("own_model", *arguments, monkeypatch=monkeypatch)
    sizes = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split(": ")[1].split(" ")[0] for line in sizes] == ["6", "4", "4"]


@pytest.mark.skipif(not (ROOT / "assets" / "base" / "config.json").exists(), reason="the shipped base is not here")
def test_examples_with_data_of_one_s_own_and_with_ratios_print_a_line_for_each_system_and_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untrained = ["experiments=untouched", "model=talks", "data=of_model"]
    quick = [*untrained, "model.max_new_tokens=4", "metrics.witnessed=0", "metrics.timed_utterances=1"]
    example("own_data", tmp_path / "data", tmp_path, "--each", 3, "--set", *quick, monkeypatch=monkeypatch)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[-2:]] == ["base", "base-nf4"]
    quick.append(f"data.path={tmp_path / 'data'}")
    example("compare_ratios", tmp_path, 0.25, 0.5, "--set", *quick, monkeypatch=monkeypatch)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[-2:]] == [["0.25", "16"], ["0.5", "16"]]


def test_segments_of_a_chinese_talk_are_joined_without_a_space(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stc.decoding.long_recordings import TranslatedRecording, TranslatedSegment

    talk = TranslatedRecording("talk", 4.0, (TranslatedSegment(0, 2, "早上"), TranslatedSegment(2, 4, "好。")))
    monkeypatch.setattr("stc.decoding.long_recordings.translate_recordings", lambda *_, **__: [talk])
    model = stc.load_model(tiny_model, device="cpu")
    assert stc.translate_recordings(model, [tmp_path / "talk.wav"], "zh") == ["早上好。"]

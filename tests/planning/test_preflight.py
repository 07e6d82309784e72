"""What would stop a run late is told before it starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from stc.config.override_checks import check_arguments
from stc.config.plan import Plan, make_plan
from stc.errors import ConfigError
from stc.models.hub import HubModel
from stc.models.layer_ranking import Removal
from stc.planning.preflight import check_jobs, collect_notes, data_faults, hub_faults, shipped_corpus_notes
from stc.run import main
from stc.store.artifact import RECORD_FILE
from stc.store.records import serialize_record
from stc.system.paths import CONF, ROOT

RATE = 16_000
SPLITS = ("train", "dev", "selection", "test")


def split(folder: Path, name: str, *seconds: float, stated: bool = False) -> None:
    """A split of utterances that last so long."""
    lines = []
    for number, length in enumerate(seconds):
        audio = f"{name}{number}.wav"
        soundfile.write(folder / audio, np.full(round(length * RATE), 0.1), RATE)
        line = {"audio": audio, "text_en": f"{name} {number}", "text_de": f"{name} {number}"}
        lines.append(json.dumps(line | ({"duration": length} if stated else {})))
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Splits of two utterances each, which the tiny model hears."""
    for name in SPLITS:
        split(tmp_path, name, 0.5, 1.9)
    return tmp_path


@pytest.fixture
def planned(tiny_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    return of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={data}")


def of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Plan:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    with initialize_config_dir(str(CONF), version_base=None):
        return make_plan(compose("config", check_arguments(list(arguments))))


def test_nothing_is_said_of_data_that_the_model_hears(planned: Plan) -> None:
    assert data_faults([planned]) == []
    check_jobs([planned], running=True)


@pytest.mark.parametrize("stated", [False, True])
def test_every_utterance_longer_than_the_window_is_named_by_its_line(planned: Plan, data: Path, stated: bool) -> None:
    for name in SPLITS:
        split(data, name, 0.5, 2.2, 1.0, 3.25, stated=stated)
    found = sorted(data_faults([planned]), key=lambda fault: fault.allowed)
    for name, fault in zip(sorted(SPLITS), found, strict=True):
        assert (fault.key, fault.value) == ("data.path", data)
        for told in (f"{name}.jsonl, line 2 (2.20 s)", f"{name}.jsonl, line 4 (3.25 s)", "window of 2 s"):
            assert told in fault.allowed
        assert "line 3" not in fault.allowed
    with pytest.raises(ConfigError):
        check_jobs([planned], running=True)


def test_utterances_longer_than_the_window_are_no_fault_where_they_are_split(
    tiny_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SPLITS:
        split(data, name, 0.5, 2.2)
    given = [f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={data}", "data.over_window=split"]
    assert data_faults([of(monkeypatch, *given, "model.window=2")]) == []
    assert "2.20 s" in str(data_faults([of(monkeypatch, *given)])[0])  # model.window is that of another model


def test_limit_leaves_out_what_it_leaves_out(tiny_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split(data, "test", 0.5, 2.2)
    cut = of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={data}", "data.limit=1")
    assert data_faults([cut]) == []


def test_folder_that_is_not_there_is_one_fault_and_each_missing_split_is_one(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={tmp_path / 'no'}")
    (fault,) = data_faults([nowhere, nowhere])
    assert (fault.key, fault.value) == ("data.path", tmp_path / "no")
    (data / "dev.jsonl").unlink()
    (data / "test.jsonl").rename(data / "tst.jsonl")
    there = of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={data}")
    found = [fault.allowed for fault in data_faults([there])]
    assert len(found) == 2
    assert "dev.jsonl" in found[0]
    assert "did you mean 'tst'" in found[1]


def test_audio_that_cannot_be_asked_for_its_length_is_left_to_the_run(planned: Plan, data: Path) -> None:
    (data / "test0.wav").unlink()
    (data / "test1.wav").write_bytes(b"no audio")
    assert data_faults([planned]) == []


def test_warm_up_that_will_be_shortened_is_told(planned: Plan) -> None:
    told = [note for note in collect_notes([planned, planned]) if "warmup_steps" in note]
    assert [note.partition(":")[0] for note in told] == ["teacher", "heal_unpruned", "heal"]
    assert "has 1 steps: the warm-up is shortened to 0" in told[0]


def test_model_of_the_hub_that_cannot_be_asked_stops_a_run_and_one_of_another_family_every_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubModel, "cached", lambda hub: None)
    arguments = ["model=qwen2_audio_7b", "model.path=somebody/whisper", f"data.path={data}", "prune.ratio=0.25"]
    other = of(monkeypatch, *arguments)
    refused, (fault,) = hub_faults([other, other])
    assert (refused, fault.key, fault.value) == ([], "model.path", "somebody/whisper")
    check_jobs([other], running=False)
    with pytest.raises(ConfigError):
        check_jobs([other], running=True)
    cached = tmp_path / "cached"
    cached.mkdir()
    (cached / "config.json").write_text('{"model_type": "whisper"}')
    monkeypatch.setattr(HubModel, "cached", lambda hub: cached)
    (fault,), unasked = hub_faults([other])
    assert (fault.key, fault.value, unasked) == ("model.path", "somebody/whisper", [])
    assert "'whisper' is not handled" in fault.allowed
    with pytest.raises(ConfigError):
        check_jobs([other], running=False)


def test_speech_engine_that_is_not_installed_is_told(
    planned: Plan, data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    speaking = ["experiments=talks_best", "prune.ratio=0.3333", f"model.path={tiny_model}", f"data.path={data}"]
    told = [note for note in collect_notes([of(monkeypatch, *speaking)]) if note.startswith("spoken")]
    assert any("espeakng-loader" in note for note in told)
    assert not [note for note in collect_notes([planned]) if "engine" in note]


def test_published_model_hears_half_a_minute(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubModel, "cached", lambda hub: None)
    split(data, "test", 30.0, 30.2)
    large = of(monkeypatch, "model=qwen2_audio_7b", f"data.path={data}", "prune.ratio=0.25")
    (fault,) = data_faults([large])
    assert "line 2 (30.20 s): longer than the model's window of 30 s" in fault.allowed
    assert "line 1" not in fault.allowed


def test_run_of_data_that_are_not_there_ends_with_2_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["data.path=/nope"], ["data.path=/nope", "plan=true"], ["-m", "data.path=/nope", "lang=de,zh"]):
        monkeypatch.setattr(sys, "argv", ["stc.run", *command])
        assert main() == 2
        assert "data.path=/nope" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recorded", [False, True])
def test_a_ranking_that_stands_in_is_looked_at_with_its_record_or_without(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    ranking = tmp_path / "ranking"
    ranking.mkdir()
    if recorded:
        facts = Removal({"decoder": 6, "encoder": 2}, (("decoder", 3), ("decoder", 1))).facts()
        (ranking / RECORD_FILE).write_text(serialize_record({"files": {}, "facts": facts}))
    stands_in = f"stages.importance.from={ranking}"
    run = of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333", f"data.path={data}", stands_in)
    assert data_faults([run]) == []


def test_a_model_of_one_s_own_on_the_shipped_corpus_is_told(
    tiny_model: Path, planned: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (note,) = shipped_corpus_notes(of(monkeypatch, f"model.path={tiny_model}", "prune.ratio=0.3333"))
    assert str(tiny_model) in note
    assert list(shipped_corpus_notes(planned)) == []

"""Data sets of the hub become manifests, whatever their layout and the format of their audio.

The data sets are made here, with the columns and splits of the real ones, and are loaded from folders by the code that
loads those of the hub.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stc.config.composition import compose_jobs
from stc.config.plan import Plan
from stc.data.audio import read_audio
from stc.data.sources import DataNotFound
from stc.data.sources.hub import Hub
from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.planning.preflight import data_faults
from stc.stages.manifest import Manifest
from stc.system.paths import ROOT

datasets = pytest.importorskip("datasets")

ACL = {"dev": 30, "eval": 20}


def tone(number: int, form: str = "WAV", rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    samples = 0.5 * np.sin(np.arange(rate // 2) * (0.02 + number / 500))
    soundfile.write(content, samples, rate, format=form, subtype="OPUS" if form == "OGG" else None)
    return content.getvalue()


def rows(count: int, first: int, **texts: str) -> Any:
    """Return a data set of ``count`` recordings with columns of texts that number them."""
    numbers = range(first, first + count)
    return datasets.Dataset.from_dict(
        {
            "audio": [{"bytes": tone(number), "path": f"sent_{number}.wav"} for number in numbers],
            **{column: [f"{text} {number}" for number in numbers] for column, text in texts.items()},
        }
    ).cast_column("audio", datasets.Audio(sampling_rate=16_000))


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))


@pytest.fixture(scope="session")
def acl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet files of two splits, as the hub has ACL 60/60."""
    folder = tmp_path_factory.mktemp("ACL-6060")
    for first, (split, count) in zip((0, ACL["dev"]), ACL.items(), strict=True):
        part = rows(count, first, text_en="English", text_de="Deutsch", text_zh="中文")
        part.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def plan(folder: Path, tiny_model: Path, tmp_path: Path, *settings: str, data: str = "acl6060") -> Plan:
    ((_, _, found),) = compose_jobs(
        [f"data={data}", f"data.source.dataset={folder}", f"model.path={tiny_model}", "prune.ratio=0.3333",
         f"store.dir={tmp_path / 'store'}", "tracking=none", *settings]
    )  # fmt: skip
    return found


def stage(
    split: str, folder: Path, tiny_model: Path, tmp_path: Path, *settings: str, data: str = "acl6060"
) -> Manifest:
    """Return the stage that reads a split, by the member of the group ``data`` and settings of the command line."""
    found = plan(folder, tiny_model, tmp_path, *settings, data=data).pipeline.nodes[split].stage
    assert isinstance(found, Manifest)
    return found


def part(split: str, start: int, stop: int | None) -> str:
    return f"data.splits.{split}={{of: dev+eval, seed: 0, start: {start}, stop: {stop or 'null'}}}"


SMALL = [part("test", 0, 10), part("selection", 10, 16), part("dev", 16, 20), part("train", 20, None)]


def test_test_set_of_the_publication_is_the_one_that_the_library_draws(
    acl: Path, tiny_model: Path, tmp_path: Path, ctx: Context
) -> None:
    whole = datasets.concatenate_datasets([datasets.load_dataset(str(acl), split=split) for split in ACL])
    drawn = whole.train_test_split(test_size=10, seed=0)
    expected = {split: set(drawn[split]["text_de"]) for split in ("train", "test")}
    found = {
        split: [row.target for row in stage(split, acl, tiny_model, tmp_path, *SMALL).in_place().rows]
        for split in ("test", "selection", "dev", "train")
    }
    assert set(found["test"]) == expected["test"]
    assert set(found["train"] + found["dev"] + found["selection"]) == expected["train"]
    assert sum(map(len, found.values())) == sum(ACL.values())


def test_official_test_set_is_a_split_of_its_own(acl: Path, tiny_model: Path, tmp_path: Path) -> None:
    read = stage("test", acl, tiny_model, tmp_path, "lang=zh", data="acl6060_official").in_place()
    assert [row.target for row in read.rows] == [f"中文 {number}" for number in range(30, 50)]
    assert [row.source for row in read.rows] == [f"English {number}" for number in range(30, 50)]


def test_part_of_more_rows_than_there_are_is_refused(acl: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=re.escape(f"{acl}: it has 50 rows")):
        stage("test", acl, tiny_model, tmp_path).in_place()


def test_a_folder_without_data_and_one_that_is_not_there_are_told_apart(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    for name, told in (("empty", False), ("absent", True)):
        with pytest.raises(InputError) as error:
            stage("test", tmp_path / name, tiny_model, tmp_path).in_place()
        assert str(tmp_path / name) in str(error.value)
        assert ("no such folder" in str(error.value)) is told


@pytest.mark.parametrize("saved", [False, True])
def test_audio_of_any_format_and_rate_is_read(saved: bool, tmp_path: Path, tiny_model: Path, ctx: Context) -> None:
    forms = [("WAV", 8_000), ("FLAC", 44_100), ("MP3", 22_050), ("OGG", 48_000)]
    audio = [{"bytes": tone(1, form, rate), "path": f"a.{form.lower()}"} for form, rate in forms]
    data = datasets.Dataset.from_dict({"audio": audio, "en": list("abcd"), "de": list("ABCD")})
    data = data.cast_column("audio", datasets.Audio())
    if saved:
        datasets.DatasetDict({"test": data}).save_to_disk(tmp_path / "data")
    else:
        data.to_parquet(tmp_path / "data" / "test.parquet")
    columns = "data.columns={audio: audio, source: en, target: de}"
    read = stage("test", tmp_path / "data", tiny_model, tmp_path, columns, data="hub").in_place()
    assert [row.target for row in read.rows] == list("ABCD")
    for path in read.audio_paths():
        assert len(read_audio(path, 16_000)) == pytest.approx(8_000, rel=0.1)


def test_covost_takes_the_configuration_of_the_language(tmp_path: Path, tiny_model: Path) -> None:
    config = ["configs:"]
    for name, text in (("en_de", "Deutsch"), ("en_zh-CN", "中文"), ("de_en", "English")):
        data = rows(2, 0, sentence="English", translation=text, id="common_voice")
        data.to_parquet(tmp_path / "covost" / name / "test-00000-of-00001.parquet")
        config += [f"- config_name: {name}", f"  data_files: [{{split: test, path: {name}/test-*}}]"]
    (tmp_path / "covost" / "README.md").write_text("\n".join(["---", *config, "---", ""]))
    for lang, text in (("de", "Deutsch"), ("zh", "中文")):
        read = stage("test", tmp_path / "covost", tiny_model, tmp_path, f"lang={lang}", data="covost2").in_place()
        assert [row.target for row in read.rows] == [f"{text} 0", f"{text} 1"]
        assert [row.id for row in read.rows] == ["common_voice 0", "common_voice 1"]


def test_recordings_of_fleurs_get_the_text_of_the_same_sentence(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def language(name: str, ids: Sequence[int], text: str) -> None:
        data = rows(len(ids), 0, raw_transcription=text).add_column("id", ids)
        data.to_parquet(tmp_path / "fleurs" / name / "test-00000-of-00001.parquet")

    language("en_us", [7, 7, 8, 9], "English")  # two people say sentence 7, and 9 has no translation
    language("cmn_hans_cn", [8, 7], "中文")
    config = [
        f"- {{config_name: {name}, data_files: [{{split: test, path: {name}/*}}]}}" for name in ("en_us", "cmn_hans_cn")
    ]
    (tmp_path / "fleurs" / "README.md").write_text("\n".join(["---", "configs:", *config, "---", ""]))
    read = stage("test", tmp_path / "fleurs", tiny_model, tmp_path, "lang=zh", data="fleurs").in_place()
    assert [(row.source, row.target) for row in read.rows] == [
        ("English 0", "中文 1"),
        ("English 1", "中文 1"),
        ("English 2", "中文 0"),
    ]
    assert "1 recordings" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.columns.target=text_du"], "text_du.*did you mean 'text_de'"),
        (["data.splits.test=evl"], "splits found: dev, eval.*did you mean 'eval'"),
        (["data.columns.audio=text_en"], "must be a column of audio"),
        (["data.source.config=other"], "other"),
    ],
)
def test_what_a_data_set_lacks_is_named(
    acl: Path, tiny_model: Path, tmp_path: Path, settings: list[str], message: str
) -> None:
    official = stage("test", acl, tiny_model, tmp_path, *settings, data="acl6060_official")
    with pytest.raises(InputError, match=message):
        official.in_place()


def test_data_set_that_names_files_of_this_machine_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(tone(1))
    columns = {"audio": [{"bytes": None, "path": str(tmp_path / "secret.wav")}], "text_en": ["a"], "text_de": ["A"]}
    datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio()).to_parquet(
        tmp_path / "set" / "data" / "eval-00000-of-00001.parquet"
    )
    with pytest.raises(InputError, match=r"secret\.wav"):
        stage("test", tmp_path / "set", tiny_model, tmp_path, data="acl6060_official").in_place()


def test_data_set_of_a_commit_is_identified_without_being_read(tiny_model: Path, tmp_path: Path, ctx: Context) -> None:
    """No data set of that name is there: whatever reads it fails."""
    known = ["data.source.dataset=nobody/nothing"]
    one, other = (
        stage("test", Path("nobody/nothing"), tiny_model, tmp_path, *known, f"data.source.revision='{digit * 40}'")
        for digit in "12"
    )
    assert one.environment(ctx) == one.environment(ctx) != other.environment(ctx)
    assert one.forecast({}) is None


def test_splits_can_be_streamed(acl: Path, tiny_model: Path, tmp_path: Path) -> None:
    streamed = ["data.source.streaming=true", "data.limit=3"]
    read = stage("test", acl, tiny_model, tmp_path, *streamed, data="acl6060_official").in_place()
    assert [row.source for row in read.rows] == ["English 30", "English 31", "English 32"]


def test_a_folder_is_known_by_its_content_whatever_commit_is_named(
    acl: Path, tiny_model: Path, tmp_path: Path, ctx: Context
) -> None:
    environments = [
        stage("test", acl, tiny_model, tmp_path, *pinned, data="acl6060_official").environment(ctx)
        for pinned in ([], [f"data.source.revision={'a' * 40}"])
    ]
    assert environments[0] == environments[1]


@pytest.mark.parametrize("wrong", ["data.splits.test=tset", part("test", 0, 999)])
def test_fault_of_the_plan_names_the_split_that_is_not_there(
    wrong: str, acl: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (fault,) = data_faults([plan(acl, tiny_model, tmp_path, *SMALL[1:], wrong)])
    assert fault.key == "data.splits.test"
    assert str(fault.value).startswith(("tset", "dev+eval[0:999]"))


def test_fault_of_the_plan_names_the_data_set_that_is_not_there(
    acl: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(source: Hub, split: str) -> bool:
        raise DataNotFound("it is nowhere")

    monkeypatch.setattr(Hub, "has", missing)
    (fault,) = data_faults([plan(acl, tiny_model, tmp_path)])
    assert (fault.key, fault.value) == ("data.source.dataset", str(acl))


def test_script_in_place_of_data_is_refused_with_the_way_on(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("raise SystemExit")
    with pytest.raises(InputError, match="scripted"):
        stage("test", folder, tiny_model, tmp_path, data="acl6060_official").in_place()

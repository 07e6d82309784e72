"""Talks with a list of their segments are read as the shared tasks give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from segments_folder import RATE, write_segments

from stc.config.composition import compose_jobs
from stc.errors import ConfigError, InputError
from stc.stages.manifest import Manifest
from stc.system.paths import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    write_segments(tmp_path / "talks")
    return tmp_path / "talks"


@pytest.fixture
def read(tiny_model: Path, tmp_path: Path) -> Callable[..., Manifest]:
    def stage(folder: Path, *settings: str) -> Manifest:
        ((_, _, plan),) = compose_jobs(
            ["data=segments", f"data.path={folder}", f"model.path={tiny_model}", "prune.ratio=0.3333",
             f"store.dir={tmp_path / 'store'}", "tracking=none", *settings]
        )  # fmt: skip
        found = plan.pipeline.nodes["test"].stage
        assert isinstance(found, Manifest)
        return found

    return stage


def test_segments_are_in_the_order_of_file_order_with_their_own_texts_and_audio(
    folder: Path, read: Callable[..., Manifest]
) -> None:
    rows = read(folder, "lang=zh").in_place().rows
    talks = [f"talk_10 {number}" for number in range(3)] + [f"talk_9 {number}" for number in range(2)]
    assert [row.target for row in rows] == [f"zh test {talk}" for talk in talks]
    assert [row.source for row in rows] == [f"en test {talk}" for talk in talks]
    whole, _ = soundfile.read(folder / "test" / "wav" / "talk_10.wav")
    second, _ = soundfile.read(rows[1].audio)
    assert np.array_equal(second, whole[RATE // 2 : RATE])


def test_without_file_order_and_source_the_list_s_own_order_is_kept(
    folder: Path, read: Callable[..., Manifest]
) -> None:
    (folder / "test" / "FILE_ORDER").unlink()
    listed = folder / "test" / "txt" / "test.yaml"
    entries = listed.read_text().split("- ")[1:]
    listed.write_text("".join(f"- {entry}" for entry in reversed(entries)))
    rows = read(folder, "data.columns.source=''").in_place().rows
    assert [row.target for row in rows] == (folder / "test" / "txt" / "test.de").read_text().splitlines()
    assert {row.source for row in rows} == {""}
    assert [row.cut_from.start if row.cut_from else 0.0 for row in rows] == [0.5, 0.0, 1.0, 0.5, 0.0]


def test_other_layout_is_read_by_its_patterns(folder: Path, read: Callable[..., Manifest]) -> None:
    expected = read(folder).in_place().rows
    for file in (folder / "test" / "txt").iterdir():
        file.rename(folder / file.name.replace("test.", "tst-"))
    (folder / "test").rename(folder / "tst")
    names = {"source.segments": "yaml", "columns.source": "en", "columns.target": "de"}
    patterns = [f"data.{key}='{{split}}-{end}'" for key, end in names.items()]
    found = read(folder, "data.splits.test=tst", *patterns)
    assert found.data_source().splits() == ["tst"]
    assert [row.target for row in found.in_place().rows] == [row.target for row in expected]


def append(file: str, text: str) -> Callable[[Path], object]:
    return lambda split: (split / file).write_text((split / file).read_text() + text)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda split: (split / "wav" / "talk_9.wav").unlink(), r"segment 4: .*talk_9.wav is missing"),
        (append("txt/test.de", "zu viel\n"), r"test.de has 6 lines for 5 segments"),
        (append("txt/test.en", "too many\n"), r"test.en has 6 lines for 5 segments"),
        (lambda split: (split / "txt" / "test.de").unlink(), r"test.de is missing"),
        (append("txt/test.yaml", "- {wav: talk_9.wav, offset: 9.0, duration: 1}\n"), r"test.(de|en) has 5 lines for 6"),
        (append("txt/test.yaml", "- {wav: talk_9.wav, offset: 1.0}\n"), r"test.yaml: 5.duration"),
        (append("txt/test.yaml", "- {wav: talk_9.wav, offset: -1, duration: 1}\n"), r"test.yaml: 5.offset"),
        (append("txt/test.yaml", "- {wav: ]\n"), r"test.yaml is not YAML"),
        (lambda split: (split / "txt" / "test.yaml").write_text("wav: a\n"), r"must be a valid list"),
        (lambda split: (split / "txt" / "test.yaml").write_text("[]"), r"no segments"),
        (append("FILE_ORDER", "talk_8\n"), r"FILE_ORDER, line 3: .*'talk_8' .did you mean 'talk_9.wav'"),
        (append("FILE_ORDER", "talk_9.wav\n"), r"FILE_ORDER, line 3: 'talk_9.wav' is named before"),
        (lambda split: (split / "FILE_ORDER").write_text("talk_9\n"), r"FILE_ORDER does not name 'talk_10.wav'"),
    ],
)
def test_fault_is_named(
    break_it: Callable[[Path], object], message: str, folder: Path, read: Callable[..., Manifest]
) -> None:
    stage = read(folder)
    break_it(folder / "test")
    with pytest.raises(InputError, match=message):
        stage.in_place()


def test_segment_beyond_the_end_of_its_talk_is_refused(folder: Path, read: Callable[..., Manifest]) -> None:
    stage = read(folder)
    listed = folder / "test" / "txt" / "test.yaml"
    listed.write_text(listed.read_text().replace("offset: 0.5", "offset: 2.5"))
    with pytest.raises(InputError, match=r"segment 2: the segment from 2.5 s to 3 s is not in .*talk_10.wav"):
        stage.in_place()


def test_pattern_without_the_split_s_name_is_refused(folder: Path, read: Callable[..., Manifest]) -> None:
    with pytest.raises(ConfigError, match=r"data.source.segments.*\{split\} must be in it"):
        read(folder, "data.source.segments=test.yaml")


def test_folder_that_is_missing_or_not_named_is_told(folder: Path, read: Callable[..., Manifest]) -> None:
    with pytest.raises(ConfigError, match=r"data\.path"):
        read(Path("null"))
    with pytest.raises(InputError, match=r"splits found: dev, selection, test, train .did you mean 'test'"):
        read(folder, "data.splits.test=tset").in_place()

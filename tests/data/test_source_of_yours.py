"""A data source of anybody's is a module with its settings and its rows, and a member of the group ``data``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stc.config.composition import compose_jobs
from stc.data.audio import read_audio
from stc.data.manifest import Manifest as Rows
from stc.errors import ConfigError, InputError
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context
from stc.planning.plan_command import print_plan
from stc.planning.preflight import data_faults
from stc.stages.manifest import Manifest
from stc.store import Store
from stc.system.durable_files import file_sha256
from stc.system.paths import ROOT

SOURCE = '''
"""Tones that count their splits."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from stc.data.sources import AudioBytes, Row, Source

SPLITS = ["train", "validation", "choice", "test"]


class Tones(Source):
    tones: int
    seconds: float

    def splits(self) -> list[str]:
        return SPLITS

    def rows(self, split: str) -> Iterator[Row]:
        for number in range(1, self.tones + 1):
            wav = io.BytesIO()
            level = (SPLITS.index(split) * self.tones + number) / 100
            soundfile.write(wav, np.full(round(16000 * self.seconds), level), 16000, format="WAV")
            audio = AudioBytes(wav.getvalue(), ".wav")
            segment = {"offset": 0.125, "duration": 0.25} if number == 2 else {}
            texts = {"source": f"{split} {number}", "target": f"{split} Nummer {number}"}
            yield Row(where=f"{split}, tone {number}", number=number, audio=audio, **texts, **segment)
'''

MEMBER = """
defaults: [of_model]
name: tones
source: {name: house.tones, tones: 3, seconds: 0.5}
path: null
columns: null
splits: {train: train, dev: validation, selection: choice, test: test}
"""


@pytest.fixture
def asked(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that takes the data of somebody's source, which is in a package beside the folder of configs."""
    for name, text in (
        ("house/__init__.py", ""),
        ("house/tones.py", SOURCE),
        ("conf/data/tones.yaml", MEMBER),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    settings = [f"model.path={tiny_model}", "prune.ratio=0.3333", f"store.dir={tmp_path / 'store'}", "tracking=none"]
    return [f"--config-dir={tmp_path / 'conf'}", "data=tones", *settings]


def stage(asked: list[str], name: str = "train") -> Manifest:
    ((_, _, plan),) = compose_jobs(asked)
    found = plan.pipeline.nodes[name].stage
    assert isinstance(found, Manifest)
    return found


def test_rows_of_a_source_elsewhere_become_a_manifest(asked: list[str], tmp_path: Path, ctx: Context) -> None:
    ((_, _, plan),) = compose_jobs([*asked, "pipeline.outputs=[train]"])
    [done] = Evaluation(plan.pipeline, Store(tmp_path / "store"), lambda name, scratch: ctx).run()
    manifest = Rows.load(done.artifact.path)
    assert [row.id for row in manifest.rows] == ["train-000001", "train-000002", "train-000003"]
    assert [row.target for row in manifest.rows] == ["train Nummer 1", "train Nummer 2", "train Nummer 3"]
    assert [row.duration for row in manifest.rows] == [0.5, 0.25, 0.5]
    for row, path in zip(manifest.rows, manifest.audio_paths(), strict=True):
        assert file_sha256(path) == row.sha256
        assert read_audio(path, 16000)[0] == pytest.approx(int(row.id[-1]) / 100, abs=1e-3)


def test_audio_that_came_as_bytes_can_be_read_in_place(asked: list[str]) -> None:
    manifest = stage(asked).in_place()
    assert [file_sha256(path) for path in manifest.audio_paths()] == [row.sha256 for row in manifest.rows]


def test_plan_looks_into_the_rows_of_a_source_elsewhere(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert print_plan(asked) == 0
    assert re.search(r"^  train +run +manifest ", capsys.readouterr().out, flags=re.MULTILINE)
    foreseen = stage(asked).forecast({})
    assert foreseen is not None
    assert (foreseen.utterances, foreseen.seconds) == (3, 1.25)
    ((_, _, plan),) = compose_jobs([*asked, "data.source.seconds=2.5"])
    told = [fault.allowed for fault in data_faults([plan])]
    assert any("train, tone 1 (2.50 s)" in one for one in told)


def test_split_that_a_source_lacks_is_told_with_the_nearest(asked: list[str], ctx: Context) -> None:
    wrong = [*asked, "data.splits.dev=validaton"]
    with pytest.raises(InputError, match=r"splits found: train, validation, .*did you mean 'validation'"):
        stage(wrong, "dev").environment(ctx)
    ((_, _, plan),) = compose_jobs(wrong)
    (fault,) = data_faults([plan])
    assert fault.key == "data.splits.dev"
    assert "did you mean 'validation'" in fault.allowed


def test_identity_is_of_what_the_rows_state(asked: list[str], ctx: Context) -> None:
    of = [stage([*asked, *more]).environment(ctx) for more in ([], ["data.limit=3"], ["data.source.seconds=0.75"])]
    assert of[0] == of[1] != of[2]


@pytest.mark.parametrize(
    ("setting", "key", "message"),
    [
        ("data.source.name=json_line", "data.source.name", "did you mean 'json_lines'"),
        ("data.source.tones=many", "data.source.tones", "whole number"),
        ("+data.source.tons=3", "data.source.tons", "did you mean 'tones'"),
        ("data.path=/data", "data.path", "house.tones has no such setting"),
        ("data.source.name=json_lines", "data.path", "data.path=FOLDER"),
    ],
)
def test_setting_that_a_source_does_not_take_is_named(asked: list[str], setting: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_jobs([*asked, setting])
    assert message in {fault.key: fault.allowed for fault in refused.value.faults}[key]

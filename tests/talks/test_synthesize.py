"""The synthesize stage: reproducible, and cheap in a second language."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import soundfile
from pydantic import ValidationError

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.store.artifact import Artifact, Kind
from talks.stages.synthesize import Synthesize


class Silent:
    def update(self, n: int = 1, note: str = "") -> None:
        pass


def make(stage: Synthesize, folder: Path, inputs: dict[str, Artifact] | None = None, workers: int = 1) -> Manifest:
    folder.mkdir()
    ctx = Context(
        device="cpu", workers=workers, train_micro_batch=1, decode_batch=1, scratch=folder, log=lambda *_, **__: None,
        progress=lambda *_, **__: nullcontext(Silent()),
    )  # fmt: skip
    facts = stage.run(inputs or {}, folder, ctx)
    manifest = Manifest.load(folder)
    assert facts["utterances"] == len(manifest)
    return manifest


def stage(**fields: Any) -> Synthesize:
    return Synthesize(**{"part": "base", "sentences": 12, "seed": 5, "target_lang": "de", "noise": 0.5, **fields})


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make(stage(max_seconds=3.0), tmp_path_factory.mktemp("made") / "de")


def test_the_manifest_is_complete(german: Manifest) -> None:
    assert len(german) == 12
    assert german.task.target_name == "German"
    for row, path in zip(german.rows, german.audio_paths(), strict=True):
        info = soundfile.info(path)
        assert info.samplerate == 16_000
        assert info.duration == pytest.approx(row.duration)
        assert row.duration <= 3.0


def test_two_runs_give_the_same_bytes_with_any_number_of_workers(german: Manifest, tmp_path: Path) -> None:
    again = make(stage(max_seconds=3.0), tmp_path / "again", workers=2)
    assert [row.model_dump() for row in again.rows] == [row.model_dump() for row in german.rows]


def test_a_second_language_shares_the_audio(german: Manifest, tmp_path: Path) -> None:
    audio = Artifact(Kind.MANIFEST, german.folder, "german")
    chinese = make(stage(max_seconds=3.0, target_lang="zh"), tmp_path / "zh", {"audio": audio})
    assert [(r.id, r.sha256, r.source) for r in chinese.rows] == [(r.id, r.sha256, r.source) for r in german.rows]
    assert all("\u4e00" <= row.target[0] <= "\u9fff" or row.target[0].isdigit() for row in chinese.rows)
    assert all(path.is_file() for path in chinese.audio_paths())


def test_sentences_of_another_manifest_are_left_out(german: Manifest, tmp_path: Path) -> None:
    known = Artifact(Kind.MANIFEST, german.folder, "known")
    other = make(stage(sentences=4), tmp_path / "other", {"without": known})
    assert not {row.source for row in other.rows} & {row.source for row in german.rows}
    assert {row.source for row in make(stage(sentences=4), tmp_path / "all").rows} & {r.source for r in german.rows}


def test_audio_of_another_seed_is_refused(german: Manifest, tmp_path: Path) -> None:
    audio = Artifact(Kind.MANIFEST, german.folder, "german")
    with pytest.raises(InputError, match="is not of part=base, seed=6"):
        make(stage(seed=6, max_seconds=3.0, target_lang="zh"), tmp_path / "zh", {"audio": audio})


def test_ogg_is_a_sixth_of_the_size(tmp_path: Path) -> None:
    wav = make(stage(sentences=4), tmp_path / "wav")
    ogg = make(stage(sentences=4, audio_format="ogg"), tmp_path / "ogg")
    size = [sum(path.stat().st_size for path in manifest.audio_paths()) for manifest in (wav, ogg)]
    assert size[1] < size[0] / 6
    assert [row.duration for row in wav.rows] == [row.duration for row in ogg.rows]


def test_engines_are_weighted_and_the_first_recordings_of_a_longer_run_are_the_same(
    german: Manifest, tmp_path: Path
) -> None:
    more = make(stage(max_seconds=3.0, sentences=14), tmp_path / "more")
    assert [row.model_dump() for row in more.rows[:12]] == [row.model_dump() for row in german.rows]
    mixed = make(stage(max_seconds=3.0, engines={"espeak": 1, "hibari": 1}), tmp_path / "mixed")
    assert 0 < sum(row.sha256 in {other.sha256 for other in german.rows} for row in mixed.rows) < 12


def test_a_held_out_engine_is_refused_outside_test() -> None:
    with pytest.raises(ValidationError, match="'piper' is held out for part test; part base can be spoken by espeak"):
        stage(engines={"piper": 1})


def test_an_unknown_engine_or_no_engine_is_refused() -> None:
    with pytest.raises(ValidationError, match="'espeak', 'flite', 'hibari' or 'piper'"):
        stage(engines={"festival": 1})
    with pytest.raises(ValidationError, match="no weight is above 0"):
        stage(engines={})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        stage(engines={"espeak": -1})

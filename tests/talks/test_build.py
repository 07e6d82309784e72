"""Requests follow from seed, part and number alone; the shipped format is small and still the same speech."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stc.errors import InputError
from talks.__main__ import MAX_SECONDS, SEED, SPLITS, _row
from talks.build import Request, requests, speak
from talks.draw import PATTERNS
from talks.effects import apply
from talks.engines import engine
from talks.grammar import Part
from talks.speech import EngineName

ENGINES: dict[EngineName, float] = {"espeak": 0.7, "hibari": 0.3}


def some(count: int, part: Part = "base", noise: float = 0.5) -> list[Request]:
    return list(islice(requests(4, part, ENGINES if part != "test" else {"espeak": 1}, noise), count))


def test_the_first_requests_of_a_longer_run_are_the_same() -> None:
    assert some(300)[:40] == some(40)


def test_sentences_left_out_do_not_come_and_the_others_stay_as_they_are() -> None:
    every = some(40)
    left_out = [every[0].sentence.en.upper(), every[7].sentence.en]
    rest = list(islice(requests(4, "base", ENGINES, 0.5, without=left_out), 38))
    assert rest == every[1:7] + every[8:]


def test_weights_change_the_voices_and_not_the_sentences() -> None:
    other = list(islice(requests(4, "base", {"espeak": 0.1, "flite": 0.9}, 0.5), 40))
    assert [request.sentence for request in other] == [request.sentence for request in some(40)]
    assert {request.voice.engine for request in other} == {"espeak", "flite"}


def test_the_asked_for_share_is_noisy() -> None:
    for noise in (0.0, 0.33, 1.0):
        assert np.mean([request.noisy for request in some(600, noise=noise)]) == pytest.approx(noise, abs=0.05)


def test_a_held_out_engine_is_refused() -> None:
    with pytest.raises(InputError, match="'piper' is held out for part test"):
        next(requests(4, "train", {"piper": 1}, 0.0))


def test_a_row_tells_seen_from_held_out(tmp_path: Path) -> None:
    spoken = speak(
        iter(some(12, "test")),
        12,
        tmp_path,
        audio_format="ogg",
        max_seconds=MAX_SECONDS,
        workers=1,
        done=lambda n: None,
    )
    rows = [_row(one) for one in spoken]
    assert {row["engine"] for row in rows} == {"espeak"}
    assert [row["held_out_pattern"] for row in rows] == [PATTERNS[str(row["pattern"])].held_out for row in rows]
    assert {row["held_out_pattern"] for row in rows} == {True, False}
    assert {row["noisy"] for row in rows} == {True, False}
    assert all((row["noise"] is not None) == row["noisy"] for row in rows)
    assert all(one.request.voice.name in str(row["voice"]) for one, row in zip(spoken, rows, strict=True))


def test_the_shipped_format_is_small_and_keeps_the_speech(tmp_path: Path) -> None:
    """12 MB hold all splits at 8.5 KB an utterance of 2.8 s; what is heard differs by no more than Opus does at
    21 kbit/s."""
    wanted = some(16)
    spoken = speak(
        iter(wanted), 16, tmp_path, audio_format="ogg", max_seconds=MAX_SECONDS, workers=1, done=lambda n: None
    )
    size = sum((tmp_path / one.audio).stat().st_size for one in spoken)
    assert size / sum(one.duration for one in spoken) < 8500 / 2.8
    for one in spoken:
        made, request = soundfile.read(tmp_path / one.audio, dtype="float32")[0], one.request
        speech = engine(request.voice.engine).speak(request.sentence.en, request.voice, request.seed)
        assert len(made) == len(speech)
        assert _log_spectral_distance(apply(speech, request.effects), made) < 4.5


def _log_spectral_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square in dB over 40 bands and 20 ms, where ``one`` is within 40 dB of its loudest."""

    def bands(samples: np.ndarray) -> np.ndarray:
        frames = samples[: len(samples) // 320 * 320].reshape(-1, 320) * np.hanning(320)
        found = np.square(np.abs(np.fft.rfft(frames, axis=1)[:, 1:161])).reshape(len(frames), 40, 4).sum(axis=2)
        return 10 * np.log10(found + 1e-9)

    loud = bands(one) > bands(one).max() - 40
    return float(np.sqrt(np.mean(np.square(bands(one) - bands(other))[loud])))


def test_the_shipped_splits_add_up() -> None:
    assert {split.part: split.sentences for split in SPLITS} == {"train": 800, "dev": 150, "selection": 64, "test": 300}
    for split in SPLITS:
        first = list(islice(requests(SEED, split.part, split.engines, split.noise), 200))
        assert {request.voice.engine for request in first} == set(split.engines)

"""Pauses are where nobody speaks: by level, or by a model that tells speech from noise."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import soundfile
import torch

from stc.data.silence import segments
from stc.data.voice_activity import check_ready, pause_finder
from stc.errors import InputError
from stc.system.paths import ROOT

RATE = 16_000
SHIPPED = ROOT / "assets" / "talks" / "audio"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three shipped sentences with a second of noise between them."""
    noise = 0.03 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    parts = [noise]
    for number in (1, 2, 3):
        audio, rate = soundfile.read(SHIPPED / f"dev-{number:06d}.ogg", dtype="float32")
        assert rate == RATE
        parts += [audio, noise]
    return np.concatenate(parts)


def found(audio: np.ndarray, method: str, longest: float) -> list[tuple[float, float]]:
    finder = pause_finder(method, RATE)  # type: ignore[arg-type]
    return [(one.start / RATE, one.end / RATE) for one, _ in segments([audio], RATE, round(longest * RATE), finder)]


def test_model_cuts_in_noise_between_sentences(speech: np.ndarray) -> None:
    threads = torch.get_num_threads()
    lengths = [soundfile.info(SHIPPED / f"dev-{number:06d}.ogg").duration for number in (1, 2, 3)]
    places = [1.0, 2.0 + lengths[0], 3.0 + lengths[0] + lengths[1]]
    segments = found(speech, "silero", 4.0)
    assert len(segments) == 3
    for (start, end), place, length in zip(segments, places, lengths, strict=True):
        assert place - 0.5 < start < place + 0.5
        assert place + length - 0.5 < end < place + length + 0.5
    assert torch.get_num_threads() == threads


def test_model_finds_nothing_in_noise_that_the_level_takes_for_sound() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    assert found(noise, "silero", 8.0) == []
    assert found(noise, "silero", 2.0) == []
    assert found(noise, "energy", 8.0) == [(0.0, 3.0)]


def test_short_recording_with_speech_is_one_segment() -> None:
    audio, _ = soundfile.read(SHIPPED / "dev-000001.ogg", dtype="float32")
    assert found(audio, "silero", 8.0) == [(0.0, len(audio) / RATE)]


def test_missing_package_and_a_rate_that_it_does_not_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="8,000 Hz"):
        pause_finder("silero", 8_000)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install silero-vad"):
        check_ready("silero")
    check_ready("energy")

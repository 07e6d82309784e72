"""Speech: engines, voices and effects follow from their arguments alone."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from stc.corpus.effects import Effects, apply
from stc.corpus.speech import SAMPLE_RATE, EngineName, Voice, draw_voice, engine, variants
from stc.errors import InputError

TEXT = "We discussed the new results yesterday."


@pytest.mark.parametrize("voice", [Voice("espeak", "en-US+f2", 1.0, 1.0), Voice("hibari", "heart", 1.0, 1.0)])
def test_an_engine_speaks_a_sentence_at_16_khz(voice: Voice) -> None:
    samples = engine(voice.engine).speak(TEXT, voice, 1)
    assert samples.dtype == np.float32
    assert 1.5 < len(samples) / SAMPLE_RATE < 5
    assert 0.05 < np.abs(samples).max() <= 1.2


@pytest.mark.parametrize("name", ["espeak", "hibari"])
def test_what_was_spoken_before_does_not_matter(name: EngineName) -> None:
    rng = random.Random(2)
    voices = [draw_voice(rng, "test", name) for _ in range(8)]
    first = [engine(name).speak(TEXT, voice, 7) for voice in voices]
    backwards = [engine(name).speak(TEXT, voice, 7) for voice in reversed(voices)][::-1]
    for one, other in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["espeak", "hibari"])
def test_speed_shortens_and_pitch_does_not(name: EngineName) -> None:
    own = {"espeak": "en+m1", "hibari": "heart"}[name]
    normal, fast, high = (
        len(engine(name).speak(TEXT, Voice(name, own, speed, pitch), 1))
        for speed, pitch in ((1, 1), (1.2, 1), (1, 1.15))
    )
    assert fast < 0.92 * normal
    assert abs(high / normal - 1) < 0.1


def test_test_variants_are_heard_in_no_other_part() -> None:
    assert not set(variants("test")) & set(variants("base"))
    assert variants("base") == variants("train") == variants("dev") == variants("selection")


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(InputError, match=r"no voice 'en-US\+nobody-at-all'|no voice 'xx'"):
        engine("espeak").speak(TEXT, Voice("espeak", "xx", 1.0, 1.0), 0)


def test_a_missing_engine_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    engine.cache_clear()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"hibari-tts.*pip install 'stc\[corpus\]'"):
        engine("hibari")


@pytest.mark.parametrize("colour", ["white", "pink", "hum"])
def test_noise_has_the_asked_for_level(colour: str) -> None:
    tone = np.sin(np.arange(SAMPLE_RATE) * 0.3).astype(np.float32)
    noisy = apply(tone, Effects(colour, 10.0, None, 0.5, 3))  # type: ignore[arg-type]
    gain = float(noisy @ tone / (tone @ tone))
    rest = noisy - gain * tone
    assert 10 * np.log10(np.mean((gain * tone) ** 2) / np.mean(rest**2)) == pytest.approx(10, abs=0.6)
    assert np.abs(noisy).max() == pytest.approx(0.5, abs=1e-3)


def test_a_room_adds_a_tail() -> None:
    click = np.zeros(SAMPLE_RATE, dtype=np.float32)
    click[100] = 1.0
    wet = apply(click, Effects(None, 0.0, 0.3, 0.9, 3))
    assert len(wet) == len(click)
    early, late = np.square(wet[200:1000]).sum(), np.square(wet[3000:4500]).sum()
    assert early > 100 * late > 0

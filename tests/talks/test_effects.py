"""Effects: the asked-for level and noise, the same length, and nothing that the seed does not say."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest

from talks.effects import COLOURS, HELD_OUT_COLOUR, SNR_DB, Colour, Effects, apply, draw_effects
from talks.grammar import PARTS
from talks.speech import SAMPLE_RATE

ALL: tuple[Colour, ...] = get_args(Colour)
TONE = np.sin(np.arange(2 * SAMPLE_RATE) * 0.3).astype(np.float32)


def noise_of(colour: Colour, snr: float = 10.0, seed: int = 3) -> np.ndarray:
    """What was added to the tone, relative to it."""
    noisy = apply(TONE, Effects(colour, snr, None, 0.5, seed))
    return noisy / (float(noisy @ TONE) / float(TONE @ TONE)) - TONE


def power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples)))


def unevenness(samples: np.ndarray) -> float:
    """How much the power of stretches of 20 ms varies: its standard deviation by its mean."""
    frames = np.square(samples[: len(samples) // 320 * 320]).reshape(-1, 320).mean(axis=1)
    return float(frames.std() / frames.mean())


@pytest.mark.parametrize("colour", ALL)
@pytest.mark.parametrize("snr", SNR_DB)
def test_noise_has_the_asked_for_level(colour: Colour, snr: float) -> None:
    assert 10 * np.log10(power(TONE) / power(noise_of(colour, snr))) == pytest.approx(snr, abs=0.6)


@pytest.mark.parametrize("colour", [None, *ALL])
@pytest.mark.parametrize("room", [None, 0.3])
def test_the_peak_is_the_level_and_the_length_stays(colour: Colour | None, room: float | None) -> None:
    for length in (1600, 16_001, len(TONE)):
        samples = apply(TONE[:length], Effects(colour, 5.0, room, 0.7, 4))
        assert samples.dtype == np.float32
        assert len(samples) == length
        assert np.abs(samples).max() == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("colour", ALL)
def test_the_seed_fixes_all_of_it(colour: Colour) -> None:
    one, same, other = (apply(TONE, Effects(colour, 5.0, 0.2, 0.7, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_colours_are_what_their_names_say() -> None:
    spectrum = {colour: np.abs(np.fft.rfft(noise_of(colour))) ** 2 for colour in ALL}  # a bin is half a hertz
    low = {colour: found[:2000].sum() / found.sum() for colour, found in spectrum.items()}
    assert low["white"] == pytest.approx(1000 / 8000, abs=0.03)
    assert low["hum"] > 0.7
    assert low["babble"] > 0.5
    assert spectrum["pink"][400:800].sum() == pytest.approx(spectrum["pink"][4000:8000].sum(), rel=0.2)
    steady = max(unevenness(noise_of(colour)) for colour in ("white", "pink", "hum"))
    assert steady < unevenness(noise_of("babble")) < unevenness(noise_of(HELD_OUT_COLOUR)) / 1.5


def test_a_room_adds_a_tail() -> None:
    click = np.zeros(SAMPLE_RATE, dtype=np.float32)
    click[100] = 1.0
    wet = apply(click, Effects(None, 0.0, 0.3, 0.9, 3))
    early, late = np.square(wet[200:1000]).sum(), np.square(wet[3000:4500]).sum()
    assert early > 100 * late > 0


def test_one_colour_is_heard_in_the_test_part_only() -> None:
    for part in PARTS:
        rng = random.Random(1)
        drawn = [draw_effects(rng, part, True) for _ in range(300)]
        assert {effects.noise for effects in drawn} == set(COLOURS) | ({HELD_OUT_COLOUR} if part == "test" else set())
        assert all(SNR_DB[0] <= effects.snr <= SNR_DB[1] for effects in drawn)


def test_quiet_recordings_have_no_noise() -> None:
    rng = random.Random(1)
    assert {draw_effects(rng, "test", False).noise for _ in range(50)} == {None}

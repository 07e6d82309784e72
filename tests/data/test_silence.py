"""A long recording is cut in pauses, into segments that fit, and nothing that sounds is lost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from stc.data import silence
from stc.data.silence import MARGIN, Segment

RATE = 16_000
WINDOW = 8 * RATE


def segments(audio: np.ndarray, rate: int, longest: int) -> list[Segment]:
    return [part for part, _ in silence.segments([audio], rate, longest)]


def bursts(seconds: float, noise: float, seed: int = 0) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Tones of 0.3 to 2.5 s with 0.3 to 1.5 s of noise between them: samples, and (start, end) of each in seconds."""
    random = np.random.default_rng(seed)
    audio = noise * random.standard_normal(round(seconds * RATE)).astype(np.float32)
    placed = []
    start = 0.4
    while (end := start + random.uniform(0.3, 2.5)) < seconds:
        time = np.arange(round((end - start) * RATE)) / RATE
        first = round(start * RATE)
        audio[first : first + len(time)] += random.uniform(0.1, 0.4) * np.sin(2 * np.pi * 300 * time)
        placed.append((start, end))
        start = end + random.uniform(0.3, 1.5)
    return audio, placed


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.02], ids=["clean", "quiet room", "20 dB"])
def test_five_minutes_are_cut_and_no_burst_is(noise: float) -> None:
    audio, placed = bursts(300, noise)
    found = segments(audio, RATE, WINDOW)
    assert len(placed) > 100
    for start, end in placed:
        holding = [part for part in found if part.start <= start * RATE and end * RATE <= part.end]
        assert len(holding) == 1
    assert not any(part.forced for part in found)


def test_segments_fit_the_window_and_follow_each_other() -> None:
    audio, _ = bursts(300, 0.001)
    found = segments(audio, RATE, WINDOW)
    assert all(0 < part.end - part.start <= WINDOW for part in found)
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert found[0].start >= 0
    assert found[-1].end <= len(audio)


def test_cut_is_in_the_longest_pause_of_the_second_half() -> None:
    audio = np.full(10 * RATE, 0.1, dtype=np.float32)
    for start, seconds in ((2.0, 0.9), (4.5, 0.3), (5.5, 0.7), (7.0, 0.3)):
        audio[round(start * RATE) : round((start + seconds) * RATE)] = 0
    first = segments(audio, RATE, WINDOW)[0]
    assert first.end / RATE == pytest.approx(5.5 + MARGIN, abs=0.05)


def test_pause_of_the_first_half_is_taken_where_there_is_no_other() -> None:
    audio = np.full(10 * RATE, 0.1, dtype=np.float32)
    audio[2 * RATE : round(2.4 * RATE)] = 0
    first, *_ = segments(audio, RATE, WINDOW)
    assert (first.end / RATE, first.forced) == (pytest.approx(2 + MARGIN, abs=0.05), False)


def test_sound_without_a_pause_is_cut_at_its_quietest_and_said_to_be() -> None:
    audio = np.full(10 * RATE, 0.1, dtype=np.float32)
    audio[7 * RATE : round(7.05 * RATE)] = 0.05  # too short for a pause
    found = segments(audio, RATE, WINDOW)
    assert [part.forced for part in found] == [True, False]
    assert found[0].end == found[1].start
    assert found[0].end / RATE == pytest.approx(7.02, abs=0.05)


def test_long_silence_belongs_to_no_segment() -> None:
    audio = np.zeros(60 * RATE, dtype=np.float32)
    audio[30 * RATE : 31 * RATE] = 0.1
    [only] = segments(audio, RATE, WINDOW)
    assert 29.5 < only.start / RATE <= 30
    assert 31 <= only.end / RATE < 31.5


def test_recording_that_fits_is_left_as_it_is() -> None:
    audio = np.concatenate([np.zeros(RATE), np.full(RATE, 0.1), np.zeros(RATE)]).astype(np.float32)
    assert segments(audio, RATE, 3 * RATE) == [Segment(0, 3 * RATE)]


@pytest.mark.parametrize("seconds", [1, 20])
def test_silent_recording_has_no_segment(seconds: int) -> None:
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(seconds * RATE)
    assert segments(hiss.astype(np.float32), RATE, WINDOW) == []


def test_recording_too_short_for_a_word_has_no_segment() -> None:
    assert segments(np.full(RATE // 20, 0.5, dtype=np.float32), RATE, WINDOW) == []


def test_recording_that_comes_in_blocks_is_cut_as_the_whole_is() -> None:
    audio, _ = bursts(60, 0.001)
    random = np.random.default_rng(1)
    blocks = np.split(audio, np.sort(random.integers(0, len(audio), 40)))
    found = list(silence.segments(iter(blocks), RATE, WINDOW))
    assert [part for part, _ in found] == segments(audio, RATE, WINDOW)
    for part, samples in found:
        np.testing.assert_array_equal(samples, audio[part.start : part.end])


def test_no_more_of_a_recording_is_read_than_the_next_segment_needs() -> None:
    read = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield np.full(RATE, 0.1, dtype=np.float32)

    next(silence.segments(blocks(), RATE, WINDOW))
    assert read < 12

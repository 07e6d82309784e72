"""Cutting a long recording where nobody speaks, into segments that fit a model's window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME = 0.01  # seconds a level is taken over
SMOOTH = 5  # frames; a level is that of its neighbours too, so that a pause ends before the sound does
SILENT = -60.0  # dBFS; a sound no louder than that is none
PAUSE = 0.2  # seconds; a closed plosive inside a word is quiet for half as long
MARGIN = 0.1  # seconds of a pause that stay with the speech before and after it; less than a pause
CONTRAST = 6.0  # dB between the quietest and the loudest of a window without which it has no pauses
QUIET = 0.3  # of that contrast, from below: where a pause ends
SHORTEST = 0.1  # seconds; less is no speech


@dataclass(frozen=True)
class Segment:
    """Samples ``start`` to ``end`` of a recording. ``forced``: it ends inside a sound, for want of a pause."""

    start: int
    end: int
    forced: bool = False


def segments(audio: np.ndarray, sampling_rate: int, longest: int) -> list[Segment]:
    """The parts of a recording to be translated, none longer than ``longest`` samples; none for a silent one.

    A recording that is not longer is one segment, as it is. Another one is cut in the longest pause of the second half
    of each window, else in the last one of the first half; where there is no pause, at the quietest place of the last
    quarter. Pauses are found by level, compared with the quietest and the loudest of the same window, so background
    noise is allowed. What is left of a pause beyond :data:`MARGIN` belongs to no segment.
    """
    if len(audio) < SHORTEST * sampling_rate:
        return []
    hop = round(FRAME * sampling_rate)
    levels = _levels(audio, hop)
    if levels.max() <= SILENT:
        return []
    if len(audio) <= longest:
        return [Segment(0, len(audio))]
    return [
        Segment(start * hop, min(end * hop, len(audio)), forced) for start, end, forced in _cut(levels, longest // hop)
    ]


def _levels(audio: np.ndarray, hop: int) -> np.ndarray:
    """The level of every frame in dBFS, at least :data:`SILENT`: (frames,)."""
    frames = -(-len(audio) // hop)
    padded = np.pad(audio.astype(np.float32), (0, frames * hop - len(audio)))
    power = np.square(padded.reshape(frames, hop)).mean(axis=1)
    smooth = np.convolve(power, np.full(SMOOTH, 1 / SMOOTH), mode="same")[:frames]
    return 10 * np.log10(np.maximum(smooth, 10 ** (SILENT / 10)))


def _cut(levels: np.ndarray, window: int) -> list[tuple[int, int, bool]]:
    """(start, end, forced) of every segment, in frames."""
    margin = round(MARGIN / FRAME)
    cut: list[tuple[int, int, bool]] = []
    start = 0
    while start < len(levels):
        # A little more than the window, to see a pause at its end for what it is.
        seen = levels[start : start + window + round(PAUSE / FRAME)]
        pauses = _pauses(seen)
        if pauses and pauses[0][0] == 0:
            ends = pauses[0][1]
            start += ends if ends == len(seen) else ends - margin
            continue
        if start + window >= len(levels):
            ends = pauses[-1][0] + margin if pauses and pauses[-1][1] == len(seen) else len(seen)
            cut.append((start, min(start + ends, len(levels)), False))
            break
        end, forced = _end(seen, pauses, window, margin)
        cut.append((start, start + end, forced))
        start += end
    return cut


def _end(levels: np.ndarray, pauses: list[tuple[int, int]], window: int, margin: int) -> tuple[int, bool]:
    """Where a segment that starts with these levels ends, in frames, and whether for want of a pause."""
    fitting = [(begins, ends) for begins, ends in pauses if begins + margin <= window]
    late = [(begins, ends) for begins, ends in fitting if begins >= window // 2]
    if late:
        return max(late, key=lambda pause: (pause[1] - pause[0], pause[0]))[0] + margin, False
    if fitting:
        return fitting[-1][0] + margin, False
    first = window - window // 4
    return first + int(levels[first:window].argmin()), True


def _pauses(levels: np.ndarray) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of every pause, in their order."""
    floor, loudest = np.quantile(levels, [0.01, 0.98])
    if levels.max() <= SILENT:
        return [(0, len(levels))]
    if loudest - floor < CONTRAST:
        return []
    quiet = np.concatenate([[False], levels < floor + QUIET * (loudest - floor), [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    return [(int(begins), int(ends)) for begins, ends in edges if ends - begins >= round(PAUSE / FRAME)]

"""Cut a long recording in its pauses, into segments that fit a model's window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

FRAME = 0.01  # seconds; the level is measured per frame
SMOOTH = 5  # frames that a level is averaged over, so that a pause ends before the sound begins
SILENT = -60.0  # dBFS; sound at or below this level is silence
PAUSE = 0.2  # seconds; a closed plosive inside a word is quiet for half as long
MARGIN = 0.1  # seconds of a pause that are kept before and after speech; less than a pause
CONTRAST = 6.0  # dB between the quietest and the loudest frame of a window; with less, the window has no pauses
QUIET = 0.3  # a frame belongs to a pause below this part of the contrast
SHORTEST = 0.1  # seconds; less is not speech


@dataclass(frozen=True)
class Segment:
    """Samples ``start`` to ``end`` of a recording. ``forced``: no pause was found, so it ends inside a sound."""

    start: int
    end: int
    forced: bool = False


PauseFinder = Callable[[np.ndarray], list[tuple[int, int]]]
"""Returns the pauses of audio, (samples,), as (first frame, frame after the last), in order. A frame is :data:`FRAME`
long, and the last may be incomplete."""


def segments(
    blocks: Iterable[np.ndarray], sampling_rate: int, longest: int, find_pauses: PauseFinder | None = None
) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield the segments of a recording with their audio, (samples,), while the recording is read.

    No segment is longer than ``longest`` samples. A silent recording has no segments, and a short one is one segment.
    A longer one is cut in the longest pause of the second half of each window, else in the last pause of the first
    half, else at the quietest frame of the last quarter. Pauses are found by level, relative to the quietest and the
    loudest frame of the same window, so background noise does not hide them. A pause beyond :data:`MARGIN` belongs to
    no segment. At most a window and a block are held in memory.

    Args:
        blocks: the audio in consecutive blocks, (samples,).
        longest: samples.
        find_pauses: another way to find pauses. Those shorter than :data:`PAUSE` are not used, unless nothing else is
            left of the recording.
    """
    hop = round(FRAME * sampling_rate)
    window, margin = longest // hop, round(MARGIN / FRAME)
    # A little more than the window, so that a pause at its end is seen whole.
    visible = window + round(PAUSE / FRAME)
    ahead = _Lookahead(blocks, hop)
    ahead.read(max(longest, (visible + SMOOTH) * hop) + 1)

    def pauses_in(levels: np.ndarray) -> list[tuple[int, int]]:
        found = _pauses(levels) if find_pauses is None else find_pauses(ahead.audio[: len(levels) * hop])
        return [one for one in found if one[1] - one[0] >= round(PAUSE / FRAME) or one == (0, len(levels))]

    if ahead.ended and len(ahead.audio) <= longest:
        if len(ahead.audio) >= SHORTEST * sampling_rate:
            seen = ahead.levels(visible)
            if pauses_in(seen) != [(0, len(seen))]:
                yield Segment(0, len(ahead.audio)), ahead.audio
        return
    while True:
        ahead.read((visible + SMOOTH) * hop)
        if not len(ahead.audio):
            return
        seen = ahead.levels(visible)
        pauses = pauses_in(seen)
        if pauses and pauses[0][0] == 0:
            ends = pauses[0][1]
            ahead.skip(ends if ends == len(seen) else ends - margin)
            continue
        last = ahead.ended and len(seen) <= window
        if last:
            end, forced = pauses[-1][0] + margin if pauses and pauses[-1][1] == len(seen) else len(seen), False
        else:
            end, forced = _end(seen, pauses, window, margin)
        audio = ahead.audio[: end * hop]
        yield Segment(ahead.start * hop, ahead.start * hop + len(audio), forced), audio.copy()
        if last:
            return
        ahead.skip(end)


class _Lookahead:
    """A buffer of audio that has been read but not cut yet.

    Attributes:
        audio: the samples from frame ``start`` on.
        start: frames.
        ended: whether the recording has been read to its end.
    """

    def __init__(self, blocks: Iterable[np.ndarray], hop: int) -> None:
        self._blocks = iter(blocks)
        self._hop = hop
        self._before = np.zeros(SMOOTH // 2)  # power of the frames just before ``start``
        self.audio = np.empty(0, dtype=np.float32)
        self.start = 0
        self.ended = False

    def read(self, samples: int) -> None:
        """Read until the buffer has so many samples, or all that are left."""
        parts = [self.audio]
        held = len(self.audio)
        while held < samples and not self.ended:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
            else:
                parts.append(block)
                held += len(block)
        if len(parts) > 1:
            self.audio = np.concatenate(parts)

    def levels(self, frames: int) -> np.ndarray:
        """Return the levels of the next ``frames``, or of all that are left, in dBFS, at least :data:`SILENT`."""
        around = SMOOTH // 2
        power = self._power(frames + around)
        if len(power) < frames + around:
            power = np.concatenate([power, np.zeros(around)])
        smooth = np.convolve(np.concatenate([self._before, power]), np.full(SMOOTH, 1 / SMOOTH), mode="valid")
        return 10 * np.log10(np.maximum(smooth[:frames], 10 ** (SILENT / 10)))

    def skip(self, frames: int) -> None:
        """Drop the first ``frames``."""
        around = SMOOTH // 2
        self._before = np.concatenate([self._before, self._power(frames)])[-around:]
        self.audio = self.audio[frames * self._hop :]
        self.start += frames

    def _power(self, frames: int) -> np.ndarray:
        """Return the power of the next ``frames``, or of all that are left. The last frame may be incomplete."""
        held = self.audio[: frames * self._hop].astype(np.float32)
        frames = -(-len(held) // self._hop)
        padded = np.pad(held, (0, frames * self._hop - len(held)))
        return np.square(padded.reshape(frames, self._hop)).mean(axis=1)


def _end(levels: np.ndarray, pauses: list[tuple[int, int]], window: int, margin: int) -> tuple[int, bool]:
    """Return where a segment with these levels ends, in frames, and whether no pause was found for it."""
    fitting = [(begins, ends) for begins, ends in pauses if begins + margin <= window]
    late = [(begins, ends) for begins, ends in fitting if begins >= window // 2]
    if late:
        return max(late, key=lambda pause: (pause[1] - pause[0], pause[0]))[0] + margin, False
    if fitting:
        return fitting[-1][0] + margin, False
    first = window - window // 4
    return first + int(levels[first:window].argmin()), True


def _pauses(levels: np.ndarray) -> list[tuple[int, int]]:
    """Return (first frame, frame after the last) of every stretch of quiet frames, in order."""
    floor, loudest = np.quantile(levels, [0.01, 0.98])
    if levels.max() <= SILENT:
        return [(0, len(levels))]
    if loudest - floor < CONTRAST:
        return []
    quiet = np.concatenate([[False], levels < floor + QUIET * (loudest - floor), [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    return [(int(begins), int(ends)) for begins, ends in edges]

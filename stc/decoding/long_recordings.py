"""Translate recordings of any length. They are cut, while they are read, into segments that fit the model's window, and
translated in batches. A recording that cannot be read gives an error in its place, and the others are translated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from stc.data.audio_file import open_sound
from stc.data.silence import PauseFinder, Segment, segments
from stc.decoding.greedy import CHUNK_BATCHES, translate_audio
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.models.weights import first_few
from stc.pipeline.stage import ProgressFactory

if TYPE_CHECKING:
    import numpy as np

    from stc.models.load_and_save import Translator

Opener = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class TranslatedSegment:
    """The translation of a recording from ``start`` to ``end``, in seconds. ``cut_off``: it has the most tokens."""

    start: float
    end: float
    text: str
    cut_off: bool = False


@dataclass(frozen=True)
class TranslatedRecording:
    """The translation of one recording.

    Attributes:
        segments: in order; none if the recording is silent or failed.
        notes: warnings for the user.
        error: why it could not be translated.
    """

    name: str
    seconds: float = 0.0
    segments: tuple[TranslatedSegment, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclass(eq=False)
class _RecordingInProgress:
    """The segments found in a recording so far, and their translations."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    cut_off: list[bool] = field(default_factory=list)
    samples: int = 0
    complete: bool = True
    error: str | None = None

    def read(self, open_: Opener, rate: int, longest: int, find_pauses: PauseFinder | None) -> Iterator[np.ndarray]:
        """Yield the audio of each segment while the recording is read."""
        try:
            with open_() as file, open_sound(file, self.name) as sound:
                for segment, audio in segments(self._counted(sound.blocks(rate)), rate, longest, find_pauses):
                    self.segments.append(segment)
                    yield audio
                self.complete = sound.complete
        except InputError as error:
            self.error = str(error)

    def result(self, rate: int) -> TranslatedRecording:
        if self.error is not None:
            return TranslatedRecording(self.name, error=self.error)
        notes = [] if self.complete else ["is cut short: what is there is translated"]
        if not self.segments:
            notes.append("is silent: its translation is empty")
        if forced := [f"{part.end / rate:.1f} s" for part in self.segments if part.forced]:
            notes.append(f"has no pause to be cut in and is cut at {first_few(forced)}, perhaps inside a word")
        translated = tuple(
            TranslatedSegment(part.start / rate, part.end / rate, text, cut_off)
            for part, text, cut_off in zip(self.segments, self.texts, self.cut_off, strict=True)
        )
        return TranslatedRecording(self.name, self.samples / rate, translated, tuple(notes))

    def _counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            yield block


def translate_recordings(
    translator: Translator,
    task: Task,
    recordings: Iterable[tuple[str, Opener]],
    *,
    longest: float | None,
    find_pauses: PauseFinder | None = None,
    batch_size: int,
    max_new_tokens: int,
    progress: ProgressFactory,
) -> Iterator[TranslatedRecording]:
    """Yield the translation of each recording, in order. At most about a batch of full windows of audio is in memory.

    Args:
        recordings: their names, and functions that open the audio files and may raise InputError.
        longest: the longest segment in seconds; None means the model's window.
        find_pauses: as in :func:`stc.data.silence.segments`.
        progress: makes the bar of a few batches.
    """
    extractor = translator.processor.feature_extractor
    rate: int = extractor.sampling_rate
    window: int = extractor.n_samples
    samples = window if longest is None else min(window, int(longest * rate))
    waiting: list[tuple[_RecordingInProgress, np.ndarray]] = []

    def translate_waiting() -> None:
        cut_off: set[int] = set()
        with progress("translating", total=len(waiting), unit="segment") as bar:
            texts = translate_audio(
                translator,
                task,
                [recording.name for recording, _ in waiting],
                [audio for _, audio in waiting],
                batch_size=batch_size,
                max_new_tokens=max_new_tokens,
                progress=bar,
                cut_off=cut_off,
            )
        for index, ((recording, _), text) in enumerate(zip(waiting, texts, strict=True)):
            recording.texts.append(text)
            recording.cut_off.append(index in cut_off)
        waiting.clear()

    read: list[_RecordingInProgress] = []  # wholly read, in order, and not all translated yet
    held = 0
    for name, open_ in recordings:
        recording = _RecordingInProgress(name)
        for audio in recording.read(open_, rate, samples, find_pauses):
            waiting.append((recording, audio))
            held += len(audio)
            if len(waiting) >= batch_size * CHUNK_BATCHES or held >= batch_size * window:
                translate_waiting()
                held = 0
                yield from (one.result(rate) for one in read)
                read.clear()
        read.append(recording)
    if waiting:
        translate_waiting()
    yield from (one.result(rate) for one in read)

"""Translating recordings of any length: read, cut into segments that fit the model's window, translated in batches.

A recording that cannot be read is told as such, in its place, and the others are translated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stc.data.audio import decode_audio
from stc.data.manifest import Task
from stc.data.silence import Segment, segments
from stc.decoding.greedy import CHUNK_BATCHES, translate_audio
from stc.errors import InputError
from stc.models.weights import some
from stc.stage import ProgressFactory

if TYPE_CHECKING:
    import numpy as np

    from stc.models.checkpoint import Translator


@dataclass(frozen=True)
class Piece:
    """The translation of ``start`` to ``end``, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Translation:
    """What became of one recording.

    Attributes:
        name: of the recording.
        seconds: its length.
        pieces: in their order; none where nothing is to be heard, or where it failed.
        notes: what its user should know.
        error: why it could not be translated.
    """

    name: str
    seconds: float = 0.0
    pieces: tuple[Piece, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None


@dataclass
class _Read:
    """A recording on its way: what is known so far, its segments, and their audio."""

    result: Translation
    segments: list[Segment] = field(default_factory=list)
    audio: list[np.ndarray] = field(default_factory=list)


def translate_recordings(
    translator: Translator,
    task: Task,
    recordings: Iterable[tuple[str, Callable[[], bytes]]],
    *,
    longest: float | None,
    batch_size: int,
    max_new_tokens: int,
    progress: ProgressFactory,
) -> Iterator[Translation]:
    """Each recording's translation, in their order, a few batches at a time.

    Args:
        recordings: their names, and what reads the content of an audio file; it may raise InputError.
        longest: the most seconds of a segment; None is the model's window.
        progress: makes the bar of a few batches.
    """
    extractor = translator.processor.feature_extractor
    rate: int = extractor.sampling_rate
    samples: int = extractor.n_samples if longest is None else min(extractor.n_samples, int(longest * rate))
    waiting: list[_Read] = []

    def translated() -> Iterator[Translation]:
        ids = [read.result.name for read in waiting for _ in read.segments]
        audio = [samples for read in waiting for samples in read.audio]
        with progress("translating", total=len(ids), unit="segment") as bar:
            texts = iter(
                translate_audio(
                    translator,
                    task,
                    ids,
                    audio,
                    batch_size=batch_size,
                    max_new_tokens=max_new_tokens,
                    progress=bar,
                )
            )
        for read in waiting:
            yield _with_texts(read, [next(texts) for _ in read.segments], rate)

    for name, content in recordings:
        waiting.append(_read(name, content, rate, samples))
        if sum(len(read.segments) for read in waiting) >= batch_size * CHUNK_BATCHES:
            yield from translated()
            waiting.clear()
    if waiting:
        yield from translated()


def _read(name: str, content: Callable[[], bytes], rate: int, longest: int) -> _Read:
    try:
        audio, whole = decode_audio(content(), name, rate)
    except InputError as error:
        return _Read(Translation(name, error=str(error)))
    parts = segments(audio, rate, longest)
    notes = [] if whole else ["is cut short: what is there is translated"]
    if not parts:
        notes.append("is silent: its translation is empty")
    if forced := [f"{part.end / rate:.1f} s" for part in parts if part.forced]:
        notes.append(f"has no pause to be cut in and is cut at {some(forced)}, perhaps inside a word")
    result = Translation(name, seconds=len(audio) / rate, notes=tuple(notes))
    return _Read(result, parts, [audio[part.start : part.end] for part in parts])


def _with_texts(read: _Read, texts: list[str], rate: int) -> Translation:
    pieces = tuple(
        Piece(part.start / rate, part.end / rate, text) for part, text in zip(read.segments, texts, strict=True)
    )
    known = read.result
    return Translation(known.name, known.seconds, pieces, known.notes, known.error)

"""Decode an audio file of anybody's, block by block, in bounded memory; what it says of itself is not believed.

Everything that reads audio comes through here, so that a file is refused by name and in words whatever is wrong with
it: a pipe or a device, a sampling rate that no recording has, a day of audio in a few bytes, an error of the library.
The format is known by the content, whatever the file is called.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from stc.data.audio_headers import cut_short, unstated_size
from stc.errors import InputError
from stc.system.read_files import open_regular

FORMATS = "wav, flac, ogg and mp3"
RATES = (1_000, 384_000)
"""Sampling rates that are heard, in Hz. A lower one would unpack to many times its size, a higher one asks for a filter
that does not fit into memory."""
LONGEST = 24 * 3600
"""The most seconds of a recording: what a file of a few bytes can unpack to has no other bound."""
MP3_TOLERANCE = 0.02  # the number of frames an MP3 file states is not always exact
MP3_PADDING = 3 * 1152  # samples that an encoder adds before and after the audio
BLOCK = 2**20  # values decoded at a time, of all channels together
_UNKNOWN = 2**63 - 1  # frames, by libsndfile, of a FLAC file that was written into a pipe
_FAULTS = (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError, OSError)


class _Forward(soundfile.SoundFile):
    """A file that is read from start to end. soundfile seeks after each read, which MP3 does not do exactly, and FLAC
    of an unknown length cannot do."""

    def seekable(self) -> bool:
        return False


class Sound:
    """An audio file that is open for decoding.

    Attributes:
        rate: samples a second, as stored.
        frames: samples of a channel by the file's own statement; None where it makes none.
        channels: of each frame.
        exact: the subtype of a WAV file that holds its samples as they are, or with 24 bits, which loses nothing that
            is heard.
        whole: False where the file is known to end before its audio does; decoding may find that out.
    """

    def __init__(self, decoder: soundfile.SoundFile, name: str, whole: bool) -> None:
        self._decoder = decoder
        self._name = name
        self.whole = whole
        self.rate: int = decoder.samplerate
        self.channels: int = decoder.channels
        self.exact = "PCM_16" if decoder.subtype in ("PCM_16", "PCM_S8", "PCM_U8") else "PCM_24"
        self.frames: int | None = None if decoder.frames == _UNKNOWN else decoder.frames

    def seconds(self) -> float:
        """Return the length of the audio, by what the file states, or counted where it states nothing.

        Raises:
            InputError: it holds no audio, or more than LONGEST.
        """
        if self.frames is None:
            return sum(len(block) for block in self.blocks(self.rate)) / self.rate
        self._check(self.frames, LONGEST)
        if not self.frames:
            raise self._empty()
        return self.frames / self.rate

    def blocks(self, sampling_rate: int, longest: float = LONGEST) -> Iterator[np.ndarray]:
        """Yield the audio as float32 in [-1, 1]: (samples,), channels averaged, resampled to ``sampling_rate``.

        Raises:
            InputError: it cannot be decoded, lasts more than ``longest`` seconds, has no samples, or samples that are
                no numbers.
        """
        self._check(self.frames or 0, longest)
        yield from _resampled(self._mono(longest), self.rate, sampling_rate)

    def doubt(self) -> float:
        """Return by how many seconds other software may find another length; see :class:`Look`."""
        if self._decoder.format != "MP3":
            return 0.0
        return MP3_TOLERANCE * (self.frames or 0) / self.rate + MP3_PADDING / self.rate

    def part(self, start: int, frames: int) -> Iterator[np.ndarray]:
        """Yield some frames as integers, (frames, channels), to be written with the subtype ``exact``; fewer where the
        audio ends before."""
        size = max(1, BLOCK // self.channels)
        with _told(self._name):
            self._decoder.seek(start)
        while frames > 0:
            with _told(self._name):
                if self.exact == "PCM_16":
                    block = self._decoder.read(min(size, frames), dtype="int16", always_2d=True)
                else:
                    block = self._decoder.read(min(size, frames), dtype="float64", always_2d=True)
            if not len(block):
                return
            frames -= len(block)
            if self.exact != "PCM_16":
                if not np.isfinite(block).all():
                    raise self._no_numbers()
                block = (np.clip(np.rint(block * 2**23), -(2**23), 2**23 - 1) * 2**8).astype(np.int32)
            yield block

    def _mono(self, longest: float) -> Iterator[np.ndarray]:
        frames = 0
        size = max(1, BLOCK // self.channels)
        while True:
            with _told(self._name):
                block = self._decoder.read(size, dtype="float32", always_2d=True)
            if not len(block):
                break
            frames += len(block)
            self._check(frames, longest)
            mono = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
            if not np.isfinite(mono).all():
                raise self._no_numbers()
            yield mono
        self.whole = self.whole and frames >= (self.frames or 0) * (1 - MP3_TOLERANCE)
        if not frames:
            raise self._empty()

    def _check(self, frames: int, longest: float) -> None:
        if frames > longest * self.rate:
            raise InputError(f"{self._name} lasts more than {longest / 3600:g} hours, which is the most that is read")

    def _empty(self) -> InputError:
        return InputError(
            f"{self._name} holds no audio" if self.whole else f"{self._name} is cut short: no audio is left in it"
        )

    def _no_numbers(self) -> InputError:
        return InputError(f"{self._name} has samples that are no finite numbers")


@contextmanager
def open_sound(file: BinaryIO, name: str, *, seek: bool = False) -> Iterator[Sound]:
    """Open an audio file for decoding.

    Args:
        file: a real file, open for reading; where it stands does not matter.
        name: for error messages.
        seek: for :meth:`Sound.part`; else the file is read once, from its start to its end.

    Raises:
        InputError: it is empty, cannot be decoded, or has a sampling rate outside RATES.
    """
    descriptor = file.fileno()
    if not os.fstat(descriptor).st_size:
        raise InputError(f"{name} is empty")
    with ExitStack() as closing:
        with _told(name):
            whole, place = not cut_short(file), unstated_size(file)
        os.lseek(descriptor, 0, os.SEEK_SET)  # what libsndfile reads from, and not where the buffer stands
        kind = soundfile.SoundFile if seek else _Forward
        with _told(name):
            if place is None:
                decoder = kind(descriptor, closefd=False)
            else:
                stated = closing.enter_context(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
                there = min(len(stated) - place - 4, 0xFFFF_FFFE) & ~1  # even: no padding, which is not there
                stated[place : place + 4] = struct.pack("<I", there)
                decoder = kind(stated)
        closing.enter_context(decoder)
        if not RATES[0] <= decoder.samplerate <= RATES[1]:
            raise InputError(
                f"{name} states a sampling rate of {decoder.samplerate:,} Hz: {RATES[0]:,} to {RATES[1]:,} are read"
            )
        yield Sound(decoder, name, whole)


@contextmanager
def open_sound_file(path: Path, *, seek: bool = False) -> Iterator[Sound]:
    """Open the audio file of a path, as :func:`open_sound`; raises InputError also where nothing can be read there."""
    with open_audio(path) as file, open_sound(file, str(path), seek=seek) as sound:
        yield sound


@dataclass(frozen=True)
class Look:
    """What a file says of its audio, without decoding it.

    Attributes:
        seconds: its length.
        doubt: seconds by which other software may find another length. What MP3 adds before and after the audio is
            counted by some and not by others, and without a header of its own its length is an estimate.
    """

    seconds: float
    doubt: float


@lru_cache(maxsize=2**18)
def look(path: str, stamp: tuple[int, int]) -> Look:
    """Return what a file says of its audio; one that is looked at again with the same ``stamp``, its size and time of
    change, is not opened again.

    Raises:
        InputError: it cannot be read, is no audio, is cut short, or has none in it.
    """
    with open_sound_file(Path(path)) as sound:
        if not sound.whole:
            raise InputError(f"{path} is cut short: it ends before its audio does")
        return Look(sound.seconds(), sound.doubt())


def cut(path: Path, start: float, end: float, target: Path) -> float:
    """Write a part of an audio file, from ``start`` to ``end`` in seconds, as a WAV file; returns its length.

    Rate and channels stay as they are, and the same part of the same file gives the same bytes.

    Raises:
        InputError: the file cannot be decoded.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_sound_file(path, seek=True) as sound:
        first, last = round(start * sound.rate), round(end * sound.rate)
        with (
            target.open("xb") as file,
            soundfile.SoundFile(file, "w", sound.rate, sound.channels, sound.exact, format="WAV") as written,
        ):
            for block in sound.part(first, last - first):
                written.write(block)
            if not written.frames:
                raise InputError(f"{path} holds no audio from {start:g} s to {end:g} s")
            return float(written.frames / sound.rate)


@contextmanager
def open_audio(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading; raises InputError where it is missing, is no regular file or cannot be read."""
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise what the library raises as an InputError that names the file."""
    try:
        yield
    except _FAULTS as error:
        why = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
        raise InputError(
            f"{name} cannot be decoded as audio: {why.strip() or type(error).__name__} ({FORMATS} can be)"
        ) from None


def _resampled(blocks: Iterator[np.ndarray], rate: int, sampling_rate: int) -> Iterator[np.ndarray]:
    """Yield the samples that resampling the whole would give, a block at a time."""
    if rate == sampling_rate:
        yield from blocks
        return
    from scipy.signal import firwin, resample_poly

    common = math.gcd(rate, sampling_rate)
    up, down = sampling_rate // common, rate // common
    half = 10 * max(up, down)  # the filter of resample_poly, which would make it anew for each block
    window = firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)).astype(np.float32)
    around = -(-(half // up + 2) // down) * down  # samples that the filter sees before and after a block
    waiting = np.empty(0, dtype=np.float32)  # its first ``seen`` samples have been resampled, and are heard once more
    seen = 0
    for block in chain(blocks, [None]):
        if block is not None:
            waiting = np.concatenate([waiting, block]) if len(waiting) else block
        end = len(waiting) if block is None else (len(waiting) - around) // down * down
        if end <= seen:
            continue
        resampled = resample_poly(waiting[: end + around], up, down, window=window)
        first = seen * up // down
        yield np.ascontiguousarray(resampled[first : None if block is None else end * up // down], dtype=np.float32)
        drop = max(0, end - around) // down * down
        waiting, seen = waiting[drop:], end - drop

"""Decode any audio file block by block, in bounded memory, without trusting what its header says.

All audio is read here, so that a bad file gives one clear error that names it: a pipe or a device, an impossible
sampling rate, a day of audio in a few bytes, an error of the library. The format is detected from the content and not
from the file name.
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

from stc.data.audio_headers import is_truncated, zero_size_position
from stc.errors import InputError
from stc.system.read_files import open_regular

FORMATS = "wav, flac, ogg and mp3"
RATES = (1_000, 384_000)
"""Sampling rates that are accepted, in Hz. Resampling from a lower rate would give many times the samples, and from a
higher one it would need a filter that does not fit into memory."""
LONGEST = 24 * 3600
"""The longest recording that is read, in seconds. Without a limit, a file of a few bytes could unpack to any length."""
MP3_TOLERANCE = 0.02  # the number of frames an MP3 file states is not always exact
MP3_PADDING = 3 * 1152  # samples that an encoder adds before and after the audio
BLOCK = 2**20  # values decoded at a time, of all channels together
_UNKNOWN = 2**63 - 1  # what libsndfile gives as the number of frames of a FLAC file that was written into a pipe
_FAULTS = (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError, OSError)


class _SequentialFile(soundfile.SoundFile):
    """A file that is read without seeking, which is inexact for MP3 and impossible for FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


class Sound:
    """An audio file that is open for decoding.

    Attributes:
        rate: sampling rate as stored, in Hz.
        frames: number of samples per channel that the file states; None if it states none.
        channels: number of channels.
        wav_subtype: subtype of a WAV file that stores these samples without loss, or with 24 bits.
        complete: False if the file ends before its audio does. This may become known only while decoding.
    """

    def __init__(self, decoder: soundfile.SoundFile, name: str, complete: bool) -> None:
        self._decoder = decoder
        self._name = name
        self.complete = complete
        self.rate: int = decoder.samplerate
        self.channels: int = decoder.channels
        self.wav_subtype = "PCM_16" if decoder.subtype in ("PCM_16", "PCM_S8", "PCM_U8") else "PCM_24"
        self.frames: int | None = None if decoder.frames == _UNKNOWN else decoder.frames

    def seconds(self) -> float:
        """Return the length of the audio that the file states. If it states none, decode and count.

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
            InputError: it cannot be decoded, is longer than ``longest`` seconds, has no samples, or has a sample that
                is not a finite number.
        """
        self._check(self.frames or 0, longest)
        yield from _resampled(self._mono(longest), self.rate, sampling_rate)

    def uncertainty(self) -> float:
        """Return how far, in seconds, the length may differ in other software; see :class:`AudioInfo`."""
        if self._decoder.format != "MP3":
            return 0.0
        return MP3_TOLERANCE * (self.frames or 0) / self.rate + MP3_PADDING / self.rate

    def part(self, start: int, frames: int) -> Iterator[np.ndarray]:
        """Yield ``frames`` frames as integers, (frames, channels), to be written with the subtype ``wav_subtype``.

        There are fewer if the audio ends before.
        """
        size = max(1, BLOCK // self.channels)
        with _decoding_errors(self._name):
            self._decoder.seek(start)
        while frames > 0:
            with _decoding_errors(self._name):
                if self.wav_subtype == "PCM_16":
                    block = self._decoder.read(min(size, frames), dtype="int16", always_2d=True)
                else:
                    block = self._decoder.read(min(size, frames), dtype="float64", always_2d=True)
            if not len(block):
                return
            frames -= len(block)
            if self.wav_subtype != "PCM_16":
                self._check_finite(block)
                block = (np.clip(np.rint(block * 2**23), -(2**23), 2**23 - 1) * 2**8).astype(np.int32)
            yield block

    def _mono(self, longest: float) -> Iterator[np.ndarray]:
        frames = 0
        size = max(1, BLOCK // self.channels)
        while True:
            with _decoding_errors(self._name):
                block = self._decoder.read(size, dtype="float32", always_2d=True)
            if not len(block):
                break
            frames += len(block)
            self._check(frames, longest)
            mono = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
            self._check_finite(mono)
            yield mono
        self.complete = self.complete and frames >= (self.frames or 0) * (1 - MP3_TOLERANCE)
        if not frames:
            raise self._empty()

    def _check(self, frames: int, longest: float) -> None:
        if frames > longest * self.rate:
            raise InputError(f"{self._name} is longer than {longest / 3600:g} hours, the longest audio that is read")

    def _empty(self) -> InputError:
        return InputError(
            f"{self._name} holds no audio" if self.complete else f"{self._name} is cut short: no audio is left in it"
        )

    def _check_finite(self, samples: np.ndarray) -> None:
        if not np.isfinite(samples).all():
            raise InputError(f"{self._name} has samples that are not finite numbers")


@contextmanager
def open_sound(file: BinaryIO, name: str, *, seek: bool = False) -> Iterator[Sound]:
    """Open an audio file for decoding.

    Args:
        file: a file on disk, open for reading at any position.
        name: for error messages.
        seek: allow :meth:`Sound.part`. Otherwise the file is read once, from start to end.

    Raises:
        InputError: it is empty, cannot be decoded, or has a sampling rate outside RATES.
    """
    descriptor = file.fileno()
    if not os.fstat(descriptor).st_size:
        raise InputError(f"{name} is empty")
    with ExitStack() as closing:
        with _decoding_errors(name):
            complete, position = not is_truncated(file), zero_size_position(file)
        os.lseek(descriptor, 0, os.SEEK_SET)  # libsndfile reads from the descriptor, not from the buffer's position
        file_class = soundfile.SoundFile if seek else _SequentialFile
        with _decoding_errors(name):
            if position is None:
                decoder = file_class(descriptor, closefd=False)
            else:
                content = closing.enter_context(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
                size = min(len(content) - position - 4, 0xFFFF_FFFE) & ~1  # even: an odd size would ask for padding
                content[position : position + 4] = struct.pack("<I", size)
                decoder = file_class(content)
        closing.enter_context(decoder)
        if not RATES[0] <= decoder.samplerate <= RATES[1]:
            raise InputError(
                f"{name} states a sampling rate of {decoder.samplerate:,} Hz: {RATES[0]:,} to {RATES[1]:,} are read"
            )
        yield Sound(decoder, name, complete)


@contextmanager
def open_sound_file(path: Path, *, seek: bool = False) -> Iterator[Sound]:
    """Open the audio file at a path for decoding.

    Raises:
        InputError: as for :func:`open_sound`, or the file is missing or cannot be read.
    """
    with open_audio(path) as file, open_sound(file, str(path), seek=seek) as sound:
        yield sound


@dataclass(frozen=True)
class AudioInfo:
    """The length of an audio file by its header, without decoding.

    Attributes:
        seconds: the length.
        uncertainty: how far the length may differ in other software, in seconds. Not all of them count the padding
            that MP3 encoders add, and the length of an MP3 file without a header is an estimate.
    """

    seconds: float
    uncertainty: float


@lru_cache(maxsize=2**18)
def audio_info(path: str, file_stamp: tuple[int, int]) -> AudioInfo:
    """Return the length of an audio file. The file is not opened again while its ``file_stamp`` is the same.

    Args:
        file_stamp: size and time of change of the file.

    Raises:
        InputError: the file cannot be read, is not audio, is cut short, or holds no audio.
    """
    with open_sound_file(Path(path)) as sound:
        if not sound.complete:
            raise InputError(f"{path} is cut short: it ends before its audio does")
        return AudioInfo(sound.seconds(), sound.uncertainty())


def cut_audio(path: Path, start: float, end: float, target: Path) -> float:
    """Write the part of an audio file from ``start`` to ``end`` (seconds) as a WAV file, and return its seconds.

    Sampling rate and channels stay. The same part of the same file always gives the same bytes.

    Raises:
        InputError: the file cannot be decoded.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_sound_file(path, seek=True) as sound:
        first, last = round(start * sound.rate), round(end * sound.rate)
        with (
            target.open("xb") as file,
            soundfile.SoundFile(file, "w", sound.rate, sound.channels, sound.wav_subtype, format="WAV") as written,
        ):
            for block in sound.part(first, last - first):
                written.write(block)
            if not written.frames:
                raise InputError(f"{path} holds no audio from {start:g} s to {end:g} s")
            return float(written.frames / sound.rate)


@contextmanager
def open_audio(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading. Raise InputError if it is missing, is not a regular file, or cannot be read."""
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None


@contextmanager
def _decoding_errors(name: str) -> Iterator[None]:
    """Turn an error of the audio library into an InputError that names the file."""
    try:
        yield
    except _FAULTS as error:
        why = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
        raise InputError(
            f"{name} cannot be decoded as audio: {why.strip() or type(error).__name__} ({FORMATS} can be)"
        ) from None


def _resampled(blocks: Iterator[np.ndarray], rate: int, sampling_rate: int) -> Iterator[np.ndarray]:
    """Resample block by block, with the same samples as resampling everything at once."""
    if rate == sampling_rate:
        yield from blocks
        return
    from scipy.signal import firwin, resample_poly

    common = math.gcd(rate, sampling_rate)
    up, down = sampling_rate // common, rate // common
    half = 10 * max(up, down)  # the filter that resample_poly would compute again for each block
    window = firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)).astype(np.float32)
    context = -(-(half // up + 2) // down) * down  # samples that the filter sees before and after a block
    waiting = np.empty(0, dtype=np.float32)  # its first ``done`` samples have been resampled, and are context now
    done = 0
    for block in chain(blocks, [None]):
        if block is not None:
            waiting = np.concatenate([waiting, block]) if len(waiting) else block
        end = len(waiting) if block is None else (len(waiting) - context) // down * down
        if end <= done:
            continue
        resampled = resample_poly(waiting[: end + context], up, down, window=window)
        first = done * up // down
        yield np.ascontiguousarray(resampled[first : None if block is None else end * up // down], dtype=np.float32)
        drop = max(0, end - context) // down * down
        waiting, done = waiting[drop:], end - drop

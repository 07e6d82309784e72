"""Read the audio of a manifest as mono float32 at the model's sampling rate, and check that it is what was listed."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import ChainMap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stc.data.manifest import LONGEST_UTTERANCE, Manifest, Utterance
from stc.errors import InputError

if TYPE_CHECKING:
    import numpy as np

READ_AHEAD = 64  # files decoded ahead of whoever consumes them
CHUNK = 500  # files a process reads at a time


def read_audio(path: Path, sampling_rate: int, sha256: str | None = None) -> np.ndarray:
    """Return a file's audio as float32 in [-1, 1], (samples,): channels averaged, resampled to ``sampling_rate``.

    Raises:
        InputError: the file is missing, cannot be decoded, is cut short or has no samples, or its content is not the
            one that ``sha256`` names.
    """
    from stc.data.audio_file import open_audio

    with open_audio(path) as file:
        if sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise InputError(f"{path} is not the audio the manifest lists: its SHA-256 is not {sha256}")
        samples, complete = decode_audio(file, str(path), sampling_rate)
    if not complete:
        raise InputError(f"{path} is cut short: it ends before its audio does")
    return samples


def decode_audio(file: BinaryIO, name: str, sampling_rate: int) -> tuple[np.ndarray, bool]:
    """Return audio as :func:`read_audio` does, and whether the file is complete (False if it ends before its audio).

    Args:
        file: a file on disk, in any format libsndfile reads: wav, flac, ogg, mp3 and more.
        name: for error messages.

    Raises:
        InputError: it cannot be decoded, has no samples, has a sample that is not a finite number, or is longer than
            LONGEST_UTTERANCE seconds.
    """
    import numpy as np

    from stc.data.audio_file import open_sound

    with open_sound(file, name) as sound:
        blocks = list(sound.blocks(sampling_rate, LONGEST_UTTERANCE))
        return np.ascontiguousarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), sound.complete


def read_batch(manifest: Manifest, rows: Sequence[Utterance], sampling_rate: int, workers: int) -> list[np.ndarray]:
    """Return the audio of some ``rows`` of a manifest, in their order, checked against their hashes."""
    return list(read_stream(manifest, rows, sampling_rate, workers))


def read_stream(
    manifest: Manifest, rows: Sequence[Utterance], sampling_rate: int, workers: int
) -> Iterator[np.ndarray]:
    """Yield the audio that :func:`read_batch` returns. At most :data:`READ_AHEAD` files are decoded in advance.

    Decoding and hashing release the interpreter lock, so threads are enough.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting = iter(rows)
        pending = [
            pool.submit(read_audio, manifest.folder / row.audio, sampling_rate, row.sha256)
            for row in islice(waiting, READ_AHEAD)
        ]
        while pending:
            yield pending.pop(0).result()
            pending += [
                pool.submit(read_audio, manifest.folder / row.audio, sampling_rate, row.sha256)
                for row in islice(waiting, 1)
            ]


def read_pcm(manifest: Manifest, rows: Sequence[Utterance], sampling_rate: int, workers: int) -> Iterator[np.ndarray]:
    """Yield the audio of ``rows`` as int16, read by ``workers`` processes.

    This is for corpora of many small files: threads that share one interpreter read only about 1,000 a second.
    """
    chunks = [(manifest.folder, rows[start : start + CHUNK], sampling_rate) for start in range(0, len(rows), CHUNK)]
    # spawn: a fork of a process with threads (torch, MLflow) may hang
    with multiprocessing.get_context("spawn").Pool(max(1, min(workers, len(chunks)))) as pool:
        for chunk in pool.imap(_pcm, chunks):
            yield from chunk


def _pcm(chunk: tuple[Path, Sequence[Utterance], int]) -> list[np.ndarray]:
    import numpy as np

    folder, rows, rate = chunk
    audio = (read_audio(folder / row.audio, rate, row.sha256) for row in rows)
    return [np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16) for samples in audio]


class Recordings:
    """A reader of one manifest's audio for training, which caches all of it if it is smaller than :data:`CACHE_BYTES`.

    Each distinct recording is decoded once: distilled and repeated rows share their audio with the original.
    """

    CACHE_BYTES = 2 * 1024**3

    def __init__(self, manifest: Manifest, sampling_rate: int, workers: int) -> None:
        self._manifest = manifest
        self._rate = sampling_rate
        self._workers = workers
        distinct = {row.sha256: row.duration for row in manifest.rows}
        self._caches = sum(distinct.values()) * sampling_rate * 4 <= self.CACHE_BYTES
        self._cache: dict[str, np.ndarray] = {}

    def read(self, rows: Sequence[Utterance]) -> list[np.ndarray]:
        """Return the float32 audio of these rows, in their order."""
        missing = {row.sha256: row for row in rows if row.sha256 not in self._cache}
        read = read_batch(self._manifest, list(missing.values()), self._rate, self._workers)
        fresh = dict(zip(missing, read, strict=True))
        audio = ChainMap(fresh, self._cache)
        if self._caches:
            self._cache |= fresh
        return [audio[row.sha256] for row in rows]

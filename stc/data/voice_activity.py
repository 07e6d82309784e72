"""Ways to find the pauses in which a long recording is cut: by level, or by the model Silero VAD."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Literal, get_args

from stc.data.silence import FRAME, PAUSE, PauseFinder
from stc.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Method = Literal["energy", "silero"]
METHODS: tuple[Method, ...] = get_args(Method)
SILERO_RATE = 16_000  # Hz; it also reads 8 kHz, which no model here does


def check_ready(method: Method) -> None:
    """Raise InputError if the package of a method is not installed."""
    if method == "silero" and importlib.util.find_spec("silero_vad") is None:
        raise InputError("segmentation silero needs the package silero-vad: pip install silero-vad")


def pause_finder(method: Method, sampling_rate: int) -> PauseFinder | None:
    """Return what finds pauses in audio of a sampling rate in Hz; None for the level, which needs nothing.

    Raises:
        InputError: the package is not installed, or does not read this rate.
    """
    check_ready(method)
    if method == "energy":
        return None
    if sampling_rate != SILERO_RATE:
        raise InputError(
            f"segmentation silero reads {SILERO_RATE:,} Hz, and the model {sampling_rate:,} Hz: use energy"
        )
    return _silero()


def _silero() -> PauseFinder:
    """Return a finder that asks Silero VAD (https://github.com/snakers4/silero-vad) with its own threshold of 0.5."""
    import torch

    threads = torch.get_num_threads()
    from silero_vad import get_speech_timestamps, load_silero_vad

    torch.set_num_threads(threads)  # the package sets one for the whole process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load
        model = load_silero_vad()

    def pauses(audio: np.ndarray) -> list[tuple[int, int]]:
        speech = get_speech_timestamps(
            torch.from_numpy(audio),
            model,
            sampling_rate=SILERO_RATE,
            min_silence_duration_ms=round(1000 * PAUSE),
            speech_pad_ms=0,
        )
        hop = round(FRAME * SILERO_RATE)
        ends = [0, *(-(-part["end"] // hop) for part in speech)]
        begins = [*(part["start"] // hop for part in speech), -(-len(audio) // hop)]
        return [(end, begin) for end, begin in zip(ends, begins, strict=True) if begin > end]

    return pauses

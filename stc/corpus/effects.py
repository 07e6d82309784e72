"""What lies between a speaker and a recording: a room, noise, and a level."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stc.corpus.speech import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Colour = Literal["white", "pink", "hum"]
_COLOURS: tuple[Colour, ...] = ("white", "pink", "hum")


@dataclass(frozen=True)
class Effects:
    """``snr`` in dB and ``reverberation`` as the time in seconds to fall by 60 dB; None for none."""

    noise: Colour | None
    snr: float
    reverberation: float | None
    level: float
    seed: int


def draw_effects(rng: random.Random, noisy: bool) -> Effects:
    colour = _COLOURS[int(rng.random() * 3)]
    snr, room = rng.uniform(3, 20), rng.uniform(0.1, 0.45)
    return Effects(
        noise=colour if noisy else None,
        snr=round(snr, 2),
        reverberation=round(room, 3) if rng.random() < (0.5 if noisy else 0.15) else None,
        level=round(rng.uniform(0.3, 0.9), 3),
        seed=int(rng.random() * 2**32),
    )


def apply(samples: NDArray[np.float32], effects: Effects) -> NDArray[np.float32]:
    """Room, then noise at ``snr`` against the speech, then the peak brought to ``level``. Same length."""
    import numpy as np
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(effects.seed)
    if effects.reverberation is not None:
        length = int(effects.reverberation * SAMPLE_RATE)
        response = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length) * 0.08
        response[0] = 1.0
        samples = fftconvolve(samples, response)[: len(samples)]
    if effects.noise is not None:
        noise = _noise(effects.noise, len(samples), rng)
        power = float(np.mean(np.square(samples))) / float(np.mean(np.square(noise)))
        samples = samples + noise * np.sqrt(power / 10 ** (effects.snr / 10))
    return np.asarray(samples / (np.max(np.abs(samples)) + 1e-9) * effects.level, dtype=np.float32)


def _noise(colour: Colour, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """White; pink (power falling as 1/f); or hum: mains harmonics under slowly swelling low noise, like a full room."""
    import numpy as np

    if colour == "white":
        return rng.standard_normal(length)
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum = rng.standard_normal(len(frequency)) + 1j * rng.standard_normal(len(frequency))
    if colour == "pink":
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), length)
    band = np.exp(-np.square(np.log(np.maximum(frequency, 1.0) / 400)) / 1.5)
    murmur = np.fft.irfft(spectrum * band, length)
    time = np.arange(length) / SAMPLE_RATE
    swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6.28))
    hum = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
    return murmur / np.std(murmur) * swell + 0.5 * hum

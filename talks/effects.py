"""What lies between a speaker and a recording: a room, noise, and a level."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from talks.speech import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Colour = Literal["white", "pink", "hum", "babble", "clatter"]
COLOURS: tuple[Colour, ...] = ("white", "pink", "hum", "babble")
# Heard in the test part only. The others swell slowly at most; clatter is knocks with quiet between them.
HELD_OUT_COLOUR: Colour = "clatter"
SNR_DB = (5.0, 20.0)
_TALKERS, _VOICES, _SYLLABLES = 5, 16, 40  # of babble: how many speak at once, of how many, each with how many


@dataclass(frozen=True)
class Effects:
    """``snr`` in dB and ``reverberation`` as the time in seconds to fall by 60 dB; None for none."""

    noise: Colour | None
    snr: float
    reverberation: float | None
    level: float
    seed: int


def draw_effects(rng: random.Random, part: str, noisy: bool) -> Effects:
    colours = (*COLOURS, HELD_OUT_COLOUR) if part == "test" else COLOURS
    colour = colours[int(rng.random() * len(colours))]
    snr, room = rng.uniform(*SNR_DB), rng.uniform(0.1, 0.45)
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
    """Of any loudness.

    White; pink (power falling as 1/f); hum (mains harmonics under slowly swelling low noise, like a full room);
    babble (people talking at once); clatter (keys and cups).
    """
    import numpy as np

    match colour:
        case "white":
            return rng.standard_normal(length)
        case "pink":
            return _shaped(length, 1 / np.sqrt(np.maximum(_frequencies(length), 20.0)), rng)
        case "hum":
            return _hum(length, rng)
        case "babble":
            return _babble(length, rng)
        case "clatter":
            return _clatter(length, rng)


def _frequencies(length: int) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), dtype=np.float64)


def _shaped(length: int, envelope: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise with ``envelope`` as the magnitude at each of :func:`_frequencies`."""
    import numpy as np

    spectrum = rng.standard_normal(len(envelope)) + 1j * rng.standard_normal(len(envelope))
    return np.fft.irfft(spectrum * envelope, length)


def _hum(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    import numpy as np

    band = np.exp(-np.square(np.log(np.maximum(_frequencies(length), 1.0) / 400)) / 1.5)
    murmur = _shaped(length, band, rng)
    time = np.arange(length) / SAMPLE_RATE
    swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6.28))
    hum = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
    return murmur / np.std(murmur) * swell + 0.5 * hum


def _babble(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Several people at once, none of whom says a word: each strings together syllables of one voice."""
    import numpy as np

    said = np.zeros(length)
    for voice in rng.choice(_VOICES, _TALKERS, replace=False):
        at = -int(rng.uniform(0, 0.2) * SAMPLE_RATE)
        while at < length:
            syllable = _syllables(int(voice))[int(rng.random() * _SYLLABLES)]
            begin, end = max(at, 0), min(at + len(syllable), length)
            if end > begin:
                said[begin:end] += syllable[begin - at : end - at] * rng.uniform(0.3, 1)
            at += int(len(syllable) * (rng.uniform(0.6, 0.9) if rng.random() < 0.85 else rng.uniform(1.2, 2.5)))
    return said


@cache
def _syllables(voice: int) -> list[NDArray[np.float64]]:
    """What a voice of babble can say: harmonics of its pitch under two formants, other ones for each syllable."""
    import numpy as np

    rng = np.random.default_rng(voice)
    normal = rng.uniform(90, 230)  # Hz
    syllables = []
    for _ in range(_SYLLABLES):
        time = np.arange(int(rng.uniform(0.12, 0.3) * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = normal * rng.uniform(0.85, 1.2)
        harmonic = pitch * np.arange(1, 4000 // pitch + 1)
        first, second = rng.uniform(280, 850), rng.uniform(900, 2500)
        strength = np.exp(-np.square((harmonic - first) / 150)) + 0.4 * np.exp(-np.square((harmonic - second) / 250))
        strength += 0.05 * pitch / harmonic
        glide = 2 * np.pi * (time + rng.uniform(-0.3, 0.3) * np.square(time))  # the pitch rises or falls
        syllables.append(strength @ np.sin(harmonic[:, None] * glide) * np.hanning(len(time)))
    return syllables


def _clatter(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """About six knocks a second, each a ringing that dies away within 10 to 60 ms, over a faint floor."""
    import numpy as np

    sound = rng.standard_normal(length) * 0.003
    for _ in range(max(1, rng.poisson(6 * length / SAMPLE_RATE))):
        time = np.arange(int(0.1 * SAMPLE_RATE)) / SAMPLE_RATE
        ringing = np.sin(2 * np.pi * rng.uniform(600, 4500) * time) + rng.standard_normal(len(time)) * 0.7
        knock = ringing * np.exp(-time / rng.uniform(0.003, 0.015)) * rng.uniform(0.2, 1)
        at = int(rng.random() * length)
        sound[at : at + len(knock)] += knock[: length - at]
    return sound

"""Changes to audio that leave what is said as it was, for whole batches on the training device.

Random numbers come from the generator passed in, so a training's augmentation follows from its seed.
"""

from __future__ import annotations

import math

import numpy as np
import torch

RATES = (0.82, 1.22)  # speed and pitch together
SNR_DB = (5.0, 45.0)
GAIN_DB = (-12.0, 6.0)
TILT = 0.4  # largest coefficient of the first-order filter, of either sign
MASKED_MELS = 0.15  # widest frequency band and
MASKED_SECONDS = 0.25  # longest stretch of time that SpecAugment hides


def draw_rates(lengths: np.ndarray, window: int, generator: np.random.Generator) -> np.ndarray:
    """A playing rate for each utterance, log-uniform in :data:`RATES`, and no slower than the window allows."""
    rates = np.exp(generator.uniform(math.log(RATES[0]), math.log(RATES[1]), size=len(lengths)))
    return np.maximum(rates, lengths / window)


def resampled_lengths(lengths: np.ndarray, rates: np.ndarray, window: int) -> np.ndarray:
    """Samples of each utterance played at its rate, at most the window."""
    return np.minimum(np.ceil(lengths / rates), window).astype(np.int64)


def resample(
    flat: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor, rates: torch.Tensor, window: int
) -> torch.Tensor:
    """Cut utterances out of one flat int16 recording and play each at its rate, by linear interpolation.

    Args:
        flat: int16 samples of all utterances, (all samples,).
        starts: where each begins, and ``lengths``, how many samples it has: int64, (utterances,).
        rates: float32, (utterances,).

    Returns:
        float32 audio in [-1, 1], (utterances, window), zero after each utterance's end.
    """
    position = torch.arange(window, device=flat.device, dtype=torch.float32)[None] * rates[:, None]
    before = position.floor()
    share = position - before
    last = lengths[:, None] - 1
    index = before.long()
    left = flat[starts[:, None] + torch.minimum(index, last)].float()
    right = flat[starts[:, None] + torch.minimum(index + 1, last)].float()
    return torch.lerp(left, right, share).masked_fill_(index > last, 0.0).div_(32768.0)


def distort(waves: torch.Tensor, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Tilt each utterance's spectrum, add white noise and change its loudness.

    Args:
        waves: (utterances, samples), zero after each one's ``lengths``; so is the result.
    """
    count, samples = waves.shape
    inside = torch.arange(samples, device=waves.device)[None] < lengths[:, None]
    tilt = _uniform(count, -TILT, TILT, generator)
    waves = torch.cat([waves[:, :1], waves[:, 1:] - tilt * waves[:, :-1]], dim=1)
    power = waves.square().sum(dim=1, keepdim=True) / lengths[:, None]
    noise_power = power * 10 ** (-_uniform(count, *SNR_DB, generator) / 10)
    noise = torch.randn(waves.shape, device=waves.device, generator=generator) * noise_power.sqrt()
    gain = 10 ** (_uniform(count, *GAIN_DB, generator) / 20)
    return ((waves + noise) * gain).clamp(-1.0, 1.0) * inside


def mask_features(features: torch.Tensor, frames_a_second: float, generator: torch.Generator) -> torch.Tensor:
    """Hide one band of frequencies and one stretch of time of each utterance (Park et al. 2019, arXiv 1904.08779).

    Args:
        features: (utterances, mel bins, frames).
    """
    count, mels, frames = features.shape
    band = _interval(count, mels, math.ceil(MASKED_MELS * mels), generator)
    stretch = _interval(count, frames, math.ceil(MASKED_SECONDS * frames_a_second), generator)
    mean = features.mean(dim=(1, 2), keepdim=True)
    return torch.where(band[:, :, None] | stretch[:, None, :], mean, features)


def _interval(count: int, size: int, longest: int, generator: torch.Generator) -> torch.Tensor:
    """(count, size): True in one random interval of at most ``longest`` in each row."""
    length = _uniform(count, 0, longest, generator)
    start = _uniform(count, 0, 1, generator) * (size - length)
    place = torch.arange(size, device=generator.device)[None]
    return (place >= start) & (place < start + length)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """(count, 1), uniform in [low, high)."""
    return torch.rand(count, 1, device=generator.device, generator=generator) * (high - low) + low

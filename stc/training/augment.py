"""Audio augmentation for whole batches, on the training device.

Random numbers come from the generator passed in, so the augmentation of a training follows from its seed.
"""

from __future__ import annotations

import math

import numpy as np
import torch

RATES = (0.82, 1.22)  # speed and pitch together
SNR_DB = (3.0, 40.0)  # of coloured noise, which every utterance gets
COLOURS = (-0.5, 2.0)  # exponents of 1/f, by which the power falls: 0 is white, 1 pink, 2 brown
BABBLED, BABBLE_SNR_DB, TALKERS = 0.3, (3.0, 25.0), 3  # the share of utterances mixed with others, and with how many
GAIN_DB = (-12.0, 6.0)
TILT = 0.4  # largest coefficient of the first-order filter, of either sign
MASKED_MELS = 0.15  # widest frequency band that SpecAugment hides
MASKED_SECONDS = 0.25  # longest stretch of time that SpecAugment hides
REPLACED = 0.1  # share of the target tokens that are replaced where the decoder reads them


def draw_rates(lengths: np.ndarray, window: int, generator: np.random.Generator) -> np.ndarray:
    """Return a playing rate for each utterance, log-uniform in :data:`RATES`, and no slower than the window allows."""
    rates = np.exp(generator.uniform(math.log(RATES[0]), math.log(RATES[1]), size=len(lengths)))
    return np.maximum(rates, lengths / window)


def resampled_lengths(lengths: np.ndarray, rates: np.ndarray, window: int) -> np.ndarray:
    """Return the length in samples of each utterance played at its rate, at most the window."""
    return np.minimum(np.ceil(lengths / rates), window).astype(np.int64)


def resample(
    flat: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor, rates: torch.Tensor, window: int
) -> torch.Tensor:
    """Cut utterances out of one flat int16 recording and play each at its rate, by linear interpolation.

    Args:
        flat: int16 samples of all utterances, (all samples,).
        starts: the first sample of each: int64, (utterances,).
        lengths: the number of samples of each: int64, (utterances,).
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
    """Tilt each utterance's spectrum, add coloured noise, mix some with other utterances, and change the loudness.

    Args:
        waves: (utterances, samples), zero after each one's ``lengths``; so is the result.
    """
    count, samples = waves.shape
    in_utterance = torch.arange(samples, device=waves.device)[None] < lengths[:, None]
    tilt = _uniform(count, -TILT, TILT, generator)
    waves = torch.cat([waves[:, :1], waves[:, 1:] - tilt * waves[:, :-1]], dim=1)
    others = sum((waves.roll(shift, dims=0) for shift in range(1, TALKERS + 1)), torch.zeros_like(waves))
    babbled = _uniform(count, 0, 1, generator) < BABBLED
    noisy = waves + babbled * _at_snr(others, waves, lengths, _uniform(count, *BABBLE_SNR_DB, generator))
    noise = coloured_noise(count, samples, generator)
    noisy = noisy + _at_snr(noise, waves, lengths, _uniform(count, *SNR_DB, generator))
    gain = 10 ** (_uniform(count, *GAIN_DB, generator) / 20)
    return (noisy * gain).clamp(-1.0, 1.0) * in_utterance


def coloured_noise(count: int, samples: int, generator: torch.Generator) -> torch.Tensor:
    """Return Gaussian noise (count, samples), each row with its own colour from :data:`COLOURS`, of any loudness."""
    white = torch.randn(count, samples, device=generator.device, generator=generator)
    frequency = torch.arange(samples // 2 + 1, device=generator.device).clamp(min=samples // 512 + 1)
    slope = _uniform(count, *COLOURS, generator) / 2  # the exponent of the magnitude, half that of the power
    envelope = (frequency / frequency[-1])[None] ** -slope
    return torch.fft.irfft(torch.fft.rfft(white) * envelope, n=samples)


def _at_snr(noise: torch.Tensor, speech: torch.Tensor, lengths: torch.Tensor, snr: torch.Tensor) -> torch.Tensor:
    """Scale ``noise`` to the ratio ``snr`` (dB, (utterances, 1)) to the speech within ``lengths``."""
    speech_power = speech.square().sum(dim=1, keepdim=True) / lengths[:, None]
    noise_power = noise.square().mean(dim=1, keepdim=True).clamp(min=1e-12)
    return noise * (speech_power / noise_power * 10 ** (-snr / 10)).sqrt()


def replace_targets(input_ids: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the input tokens with some target tokens replaced by others of the batch. The labels stay the same.

    A decoder that cannot rely on the previous words has to use the audio (Bowman et al. 2016, arXiv 1511.06349,
    section 3.1).

    Args:
        input_ids: (utterances, tokens).
        labels: (utterances, tokens): the token itself within the target, negative elsewhere.
    """
    target = labels >= 0
    words = labels[target]
    drawn = torch.randint(len(words), input_ids.shape, device=input_ids.device, generator=generator)
    replaced = torch.rand(input_ids.shape, device=input_ids.device, generator=generator) < REPLACED
    return torch.where(target & replaced, words[drawn], input_ids)


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
    """Return a mask (count, size): True in one random interval of at most ``longest`` in each row."""
    length = _uniform(count, 0, longest, generator)
    start = _uniform(count, 0, 1, generator) * (size - length)
    place = torch.arange(size, device=generator.device)[None]
    return (place >= start) & (place < start + length)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Return random numbers (count, 1), uniform in [low, high)."""
    return torch.rand(count, 1, device=generator.device, generator=generator) * (high - low) + low

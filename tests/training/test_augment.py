"""Augmentation changes how speech sounds, within its limits, and repeats with the seed."""

import numpy as np
import torch

from stc.training.augment import (
    BABBLE_SNR_DB,
    RATES,
    REPLACED,
    SNR_DB,
    coloured_noise,
    distort,
    draw_rates,
    mask_features,
    replace_targets,
    resample,
    resampled_lengths,
)

WINDOW = 1600


def recording() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two tones of 1000 and 600 samples after each other: flat samples, starts, lengths."""
    tones = [10000 * np.sin(2 * np.pi * np.arange(count) / 40) for count in (1000, 600)]
    flat = torch.from_numpy(np.concatenate(tones).astype(np.int16))
    return flat, torch.tensor([0, 1000]), torch.tensor([1000, 600])


def test_at_rate_1_audio_is_cut_out_exactly() -> None:
    flat, starts, lengths = recording()
    waves = resample(flat, starts, lengths, torch.ones(2), WINDOW)
    assert torch.equal(waves[0, :1000], flat[:1000].float() / 32768)
    assert torch.equal(waves[1, :600], flat[1000:].float() / 32768)
    assert not waves[0, 1000:].any()
    assert not waves[1, 600:].any()


def test_a_rate_scales_length_and_pitch() -> None:
    flat, starts, lengths = recording()
    waves = resample(flat, starts, lengths, torch.tensor([1.25, 0.8]), WINDOW)
    ends = resampled_lengths(lengths.numpy(), np.array([1.25, 0.8]), WINDOW)
    assert ends.tolist() == [800, 750]
    for wave, end, period in zip(waves, ends.tolist(), (32, 50), strict=True):
        expected = 10000 / 32768 * np.sin(2 * np.pi * np.arange(end) / period)
        np.testing.assert_allclose(wave[: end - 2], expected[: end - 2], atol=0.01)
        assert not wave[end + 1 :].any()


def test_no_rate_makes_audio_longer_than_the_window() -> None:
    lengths = np.array([400, 1500, 1600] * 100)
    rates = draw_rates(lengths, WINDOW, np.random.default_rng(0))
    assert resampled_lengths(lengths, rates, WINDOW).max() <= WINDOW
    assert rates.min() >= RATES[0]
    assert rates.max() <= RATES[1]
    assert rates[lengths == 400].std() > 0.05


def test_distortion_keeps_the_end_silent_and_the_signal_above_the_noise() -> None:
    flat, starts, lengths = recording()
    clean = resample(flat, starts, lengths, torch.ones(2), WINDOW)
    changed = distort(clean, lengths, torch.Generator().manual_seed(0))
    assert not changed[0, 1000:].any()
    assert not changed[1, 600:].any()
    for before, after, count in zip(clean, changed, lengths.tolist(), strict=True):
        correlation = np.corrcoef(before[:count], after[:count])[0, 1]
        assert 10 ** (min(SNR_DB[0], BABBLE_SNR_DB[0]) / 20) / 4 < correlation / np.sqrt(1 - correlation**2)


def test_coloured_noise_falls_with_frequency_by_a_slope_of_its_own() -> None:
    noise = coloured_noise(64, 16000, torch.Generator().manual_seed(0))
    power = torch.fft.rfft(noise).abs().square()
    slope = torch.log2(power[:, 1000:1200].mean(dim=1) / power[:, 2000:2400].mean(dim=1))  # of an octave
    assert -1.0 < slope.min() < 0.5
    assert 1.5 < slope.max() < 2.5


def test_replacing_targets_changes_a_share_of_the_targets_tokens_and_nothing_else() -> None:
    tokens = torch.arange(4000).view(4, 1000)
    labels = tokens.where(torch.arange(1000) >= 500, torch.tensor(-100))
    read = replace_targets(tokens, labels, torch.Generator().manual_seed(0))
    changed = read != tokens
    assert not changed[:, :500].any()
    assert abs(changed[:, 500:].float().mean() - REPLACED) < 0.03
    assert (read[changed] % 1000 >= 500).all()  # by tokens that targets have


def test_masks_hide_a_small_part_of_the_features() -> None:
    features = torch.randn(50, 40, 300, generator=torch.Generator().manual_seed(1))
    masked = mask_features(features, 100.0, torch.Generator().manual_seed(0))
    share = (masked != features).float().mean(dim=(1, 2))
    assert 0 < share.mean() < 0.2
    assert share.max() < 0.3


def test_the_seed_repeats_everything() -> None:
    flat, starts, lengths = recording()
    clean = resample(flat, starts, lengths, torch.ones(2), WINDOW)
    one, two, other = (distort(clean, lengths, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)

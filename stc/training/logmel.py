"""The log-mel spectrogram of a processor, for whole batches on the training device.

The processor computes it on the CPU, where 16 cores cannot feed a GPU that trains a small model.
"""

from __future__ import annotations

from typing import Any

import torch


class LogMel:
    """Computes the features of ``WhisperFeatureExtractor`` (Radford et al. 2022, arXiv 2212.04356, section 2.2)."""

    def __init__(self, extractor: Any, device: str) -> None:
        self.samples: int = extractor.n_samples
        self.hop: int = extractor.hop_length
        self._n_fft: int = extractor.n_fft
        self._window = torch.hann_window(self._n_fft, device=device)
        self._filters = torch.from_numpy(extractor.mel_filters).to(device, torch.float32).T.contiguous()

    def __call__(self, waves: torch.Tensor) -> torch.Tensor:
        """Return features (utterances, mel bins, frames) of float32 audio (utterances, samples), padded with zeros."""
        spectrum = torch.stft(waves, self._n_fft, self.hop, window=self._window, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        logs = (self._filters @ power).clamp(min=1e-10).log10()
        loudest = logs.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(logs, loudest - 8.0) + 4.0) / 4.0

    def frame_mask(self, lengths: torch.Tensor) -> torch.Tensor:
        """Return a mask (utterances, frames): 1 where a frame starts within the audio's ``lengths`` in samples."""
        starts = torch.arange(0, self.samples, self.hop, device=lengths.device)
        return (starts[None] < lengths[:, None]).long()

"""The spectrogram made for training from scratch is the one the processor makes for decoding."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from stc.training.logmel import LogMel


@pytest.mark.parametrize("mels", [40, 80, 128])
def test_features_and_mask_are_the_feature_extractors(mels: int) -> None:
    extractor = WhisperFeatureExtractor(feature_size=mels, chunk_length=2)
    random = np.random.default_rng(0)
    audio = [
        (loud * random.standard_normal(count)).astype(np.float32)
        for loud, count in ((0.1, 32000), (1e-3, 31999), (0.5, 161), (0.3, 160), (0.3, 17777))
    ]
    expected = extractor(audio, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
    logmel = LogMel(extractor, "cpu")
    waves = torch.stack([torch.from_numpy(np.pad(samples, (0, 32000 - len(samples)))) for samples in audio])
    torch.testing.assert_close(logmel(waves), expected["input_features"], atol=1e-4, rtol=0)
    mask = logmel.frame_mask(torch.tensor([len(samples) for samples in audio]))
    assert torch.equal(mask, expected["attention_mask"].long())

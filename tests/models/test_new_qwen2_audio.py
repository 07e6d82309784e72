from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from stc.errors import ModelError
from stc.models.create_qwen2_audio import build_processor, create

SHAPE = {
    "audio_config": {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "num_mel_bins": 40,
        "max_source_positions": 100,
    },
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
}
TEXTS = ["Ein kleiner Hund läuft über die Straße.", "今天天气很好，我们去公园。", "A small dog runs."] * 3


def test_text_survives_the_tokenizer_and_special_tokens_do_not() -> None:
    tokenizer = build_processor(TEXTS, 320, 2, 40).tokenizer
    for text in (*TEXTS, "Unseen: ñ, 🙂"):
        assert tokenizer.decode(tokenizer(text + "<|im_end|>").input_ids, skip_special_tokens=True) == text
    assert len(tokenizer) == 320


def test_same_texts_give_the_same_vocabulary() -> None:
    first, second = (build_processor(TEXTS, 320, 2, 40).tokenizer.get_vocab() for _ in range(2))
    assert first == second


def test_folder_loads_in_plain_transformers_and_encodes_short_audio(tiny_model: Path) -> None:
    processor = AutoProcessor.from_pretrained(tiny_model)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(tiny_model)
    for samples in (2_000, 9_876, 31_999, 32_000):
        batch = processor(
            text="<|audio_bos|><|AUDIO|><|audio_eos|>",
            audio=[np.zeros(samples, np.float32)],
            sampling_rate=16_000,
            return_tensors="pt",
        )
        frames = -(-samples // 160)
        tokens = ((frames - 1) // 2 + 1) // 2
        assert int((batch["input_ids"] == model.config.audio_token_id).sum()) == tokens
        assert model(**batch).logits.shape[1] == tokens + 2


def test_positions_of_the_encoder_are_sinusoids(tmp_path: Path) -> None:
    model = create(tmp_path / "m", config=SHAPE, processor=build_processor(TEXTS, 300, 2, 40), seed=1).model
    positions = model.model.audio_tower.embed_positions.weight
    time = torch.arange(100.0)
    torch.testing.assert_close(positions[:, 0], torch.sin(time), atol=4e-3, rtol=0)
    torch.testing.assert_close(positions[:, 16], torch.cos(time), atol=4e-3, rtol=0)
    torch.testing.assert_close(positions[:, 15], torch.sin(time / 10_000), atol=4e-3, rtol=0)


def test_seed_decides_the_weights_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    processor = build_processor(TEXTS, 300, 2, 40)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    heads = [
        create(tmp_path / str(number), config=SHAPE, processor=processor, seed=seed).model.lm_head.weight
        for number, seed in enumerate((1, 1, 2))
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.rand(3), expected)


def test_window_unlike_the_encoder_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"max_source_positions=100: 150"):
        create(tmp_path / "m", config=SHAPE, processor=build_processor(TEXTS, 300, 3, 40), seed=1)

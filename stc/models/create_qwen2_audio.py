"""New Qwen2-Audio models with random weights, of any shape, and a processor for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from stc.errors import ModelError
from stc.models import architecture
from stc.models.load_and_save import Translator, import_transformers, load, save

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
AUDIO, AUDIO_START, AUDIO_END = "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"
SPECIAL = (END_OF_TEXT, START, END, AUDIO, AUDIO_START, AUDIO_END)

# One turn a message, between the chat markers. The audio's placeholder stands on a line of its own.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}"
    "{{ message.content }}"
    "{%- else -%}"
    "{%- for piece in message.content -%}"
    "{{ '<|audio_bos|><|AUDIO|><|audio_eos|>\n' if piece.type == 'audio' else piece.text }}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)

SAMPLING_RATE = 16_000
MAX_TOKENS = 2048


def build_processor(texts: Iterable[str], vocab_size: int, window_seconds: int, mel_bins: int) -> Any:
    """Return a ``Qwen2AudioProcessor`` whose byte-level BPE vocabulary is learnt from ``texts``.

    Args:
        texts: what the tokenizer learns its merges from.
        vocab_size: 256 bytes, six special tokens, and merges for the rest; fewer if the texts do not give as many.
        window_seconds: utterances are padded to this length and cut at it. The model's encoder needs
            ``max_source_positions`` = 50 a second.
        mel_bins: of the log-mel spectrogram.
    """
    import_transformers()
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2AudioProcessor, Qwen2Tokenizer, WhisperFeatureExtractor

    empty = Qwen2Tokenizer()
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = empty.backend_tokenizer.normalizer
    bpe.pre_tokenizer = empty.backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - len(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    learnt = json.loads(bpe.to_str())["model"]
    merges: Any = [(left, right) for left, right in learnt["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=merges,
        unk_token=END_OF_TEXT,
        eos_token=END,
        pad_token=END_OF_TEXT,
        extra_special_tokens=[START, AUDIO, AUDIO_START, AUDIO_END],
        model_max_length=MAX_TOKENS,
    )
    extractor = WhisperFeatureExtractor(
        feature_size=mel_bins, sampling_rate=SAMPLING_RATE, chunk_length=window_seconds, return_attention_mask=True
    )
    return Qwen2AudioProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE)


def random_model(config: Any, *, seed: int, device: str, dtype: str) -> Any:
    """Return a model with seeded random weights, of the shape in a ``Qwen2AudioConfig``, made on ``device``.

    The encoder's positions are sinusoids (Radford et al. 2022, arXiv 2212.04356, section 2.2). They are not trained,
    and transformers leaves them random.
    """
    from transformers.models.whisper.modeling_whisper import sinusoids

    with torch.random.fork_rng(devices=[] if device == "cpu" else [device]), torch.device(device):
        torch.manual_seed(seed)
        model = architecture(config.model_type).model_class()._from_config(config, dtype=getattr(torch, dtype))
    positions = model.model.audio_tower.embed_positions.weight
    with torch.no_grad():
        positions.copy_(sinusoids(*positions.shape))
    return model.eval()


def create(folder: Path, *, config: Any, processor: Any, seed: int, dtype: str = "float32") -> Translator:
    """Write the folder of a Qwen2-Audio with random weights, and load it.

    Args:
        config: a ``Qwen2AudioConfig``, or its fields. Of fields, those that are missing for the vocabulary and the
            token ids are taken from the processor.
        processor: what :func:`build_processor` returns.
        dtype: the precision of the returned model. The folder is in bfloat16, as every model folder.

    Raises:
        ModelError: the config and the processor do not fit each other.
    """
    from transformers import GenerationConfig, Qwen2AudioConfig

    tokenizer = processor.tokenizer
    end, pad = tokenizer.convert_tokens_to_ids([END, END_OF_TEXT])
    if isinstance(config, Mapping):
        text = {"vocab_size": len(tokenizer), "eos_token_id": end, "pad_token_id": pad, **config["text_config"]}
        token = {"audio_token_index": tokenizer.convert_tokens_to_ids(AUDIO)}
        config = Qwen2AudioConfig(**{**token, **config, "text_config": text})
    frames, window = 2 * config.audio_config.max_source_positions, processor.feature_extractor.nb_max_frames
    if frames != window:
        raise ModelError(f"max_source_positions={frames // 2}: {window // 2} for the processor's window")
    if len(tokenizer) > config.text_config.vocab_size:
        raise ModelError(f"vocab_size={config.text_config.vocab_size}: at least {len(tokenizer)} for the tokenizer")
    model = random_model(config, seed=seed, device="cpu", dtype="float32")
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=False)
    save(Translator(model, processor, architecture(config.model_type), folder), folder)
    return load(folder, device="cpu", dtype=dtype)

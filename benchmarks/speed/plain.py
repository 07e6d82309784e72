"""The two sides stc is measured against, by transformers' own ``generate`` and none of stc's decoding.

:func:`one_by_one` is the published procedure (Moslem 2025, arXiv 2505.20237): utterance by utterance, the audio
padded to the window and encoded each time. :func:`batched` is what one would do next: the audio encoded once, all
utterances in left-padded batches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from speed.shapes import Subject
from stc.data.manifest import Utterance

ENCODED = 32  # utterances that :func:`embeddings` encodes together


@contextmanager
def without(model: Any, removed: Collection[int]) -> Iterator[None]:
    """The model without some decoder layers: the list of layers, each one's place in the cache, and the config."""
    decoder, config = model.get_decoder(), model.config.text_config
    every, types = decoder.layers, config.layer_types
    kept = [index for index in range(len(every)) if index not in removed]
    _set(decoder, config, [every[index] for index in kept], [types[index] for index in kept])
    try:
        yield
    finally:
        _set(decoder, config, list(every), types)


def _set(decoder: Any, config: Any, layers: list[Any], types: list[str]) -> None:
    for index, layer in enumerate(layers):
        layer.self_attn.layer_idx = index
    decoder.layers = nn.ModuleList(layers)
    config.num_hidden_layers, config.layer_types = len(layers), types


def one_by_one(subject: Subject, rows: Sequence[Utterance]) -> list[str]:
    """The texts of some utterances, one ``generate`` each."""
    model, texts = subject.translator.model, []
    for row in rows:
        inputs = _inputs(subject, [row])
        with torch.inference_mode():
            tokens = model.generate(**inputs, generation_config=_greedy(subject))
        texts += _texts(subject, tokens[:, inputs["input_ids"].shape[1] :])
    return texts


@torch.inference_mode()
def embeddings(subject: Subject) -> list[torch.Tensor]:
    """What the decoder takes for each utterance's prompt, (positions, hidden): the audio encoded."""
    model, found = subject.translator.model, []
    family = subject.translator.architecture
    for start in range(0, len(subject.manifest), ENCODED):
        inputs = _inputs(subject, subject.manifest.rows[start : start + ENCODED])
        embedded = family.embed(model, inputs["input_ids"], family.encode_audio(model, inputs))
        found += [row[kept] for row, kept in zip(embedded, inputs["attention_mask"].bool(), strict=True)]
    return found


@torch.inference_mode()
def batched(subject: Subject, embedded: Sequence[torch.Tensor], batch_size: int) -> list[str]:
    """The texts of utterances that are encoded already."""
    model, texts = subject.translator.model, []
    for start in range(0, len(embedded), batch_size):
        rows = embedded[start : start + batch_size]
        places = [torch.ones(len(row), dtype=torch.int64, device=row.device) for row in rows]
        inputs, mask = (pad_sequence(list(each), batch_first=True, padding_side="left") for each in (rows, places))
        tokens = model.generate(inputs_embeds=inputs, attention_mask=mask, generation_config=_greedy(subject))
        texts += _texts(subject, tokens)
    return texts


def _inputs(subject: Subject, rows: Sequence[Utterance]) -> Any:
    """What the processor makes of some utterances: their prompts, and features of the whole window."""
    import soundfile

    processor, model = subject.translator.processor, subject.translator.model
    conversation = subject.translator.architecture.conversation(subject.manifest.task)
    prompt = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    audio = [soundfile.read(subject.manifest.folder / row.audio, dtype="float32") for row in rows]
    inputs = processor(
        text=[prompt] * len(rows),
        audio=[samples for samples, _ in audio],
        sampling_rate=audio[0][1],
        padding=True,
        return_tensors="pt",
    )
    return inputs.to(model.device, dtype=model.dtype)


def _greedy(subject: Subject) -> Any:
    """The tokens that end a turn, and none of the penalties a folder may ask for."""
    from transformers import GenerationConfig

    tokenizer = subject.translator.processor.tokenizer
    stated = subject.translator.model.generation_config.eos_token_id
    ends = {*(stated if isinstance(stated, list) else [stated]), tokenizer.eos_token_id} - {None}
    return GenerationConfig(
        do_sample=False, eos_token_id=sorted(ends), pad_token_id=min(ends), max_new_tokens=subject.max_new_tokens
    )


def _texts(subject: Subject, tokens: Any) -> list[str]:
    said = subject.translator.processor.tokenizer.batch_decode(
        tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [" ".join(text.splitlines()).strip() for text in said]

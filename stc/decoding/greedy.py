"""Greedy translation of many utterances at once.

The audio tower, the projector and the prompt don't depend on which decoder layers are kept, so their output is
computed once (:func:`encode`) and can be decoded many times (:func:`decode`). The loop is our own because
``generate`` takes what it isn't told from the folder's generation_config, and a repetition penalty or sampling
found there would change results; of that file only the tokens that end a turn are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from stc.data.audio import read_stream
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.stage import Progress

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

READERS = 4  # threads that decode audio ahead of the encoder
CHUNK_BATCHES = 8  # batches whose embeddings :func:`translate` holds at a time


@dataclass(frozen=True)
class Encoded:
    """The decoder's input embeddings of each utterance's prompt and audio: (positions, hidden), not padded."""

    embeddings: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.embeddings)


@torch.inference_mode()
def encode(translator: Translator, manifest: Manifest, *, batch_size: int, progress: Progress | None = None) -> Encoded:
    """Run the audio tower and the projector over every utterance; the result stays on the model's device.

    Args:
        progress: a bar, moved on by each batch's utterances.

    Raises:
        InputError: audio is unreadable, not the one the manifest lists, or longer than the model's window.
    """
    architecture, model = translator.architecture, translator.model
    collator = Collator(translator.processor, architecture.prompt(translator.processor, manifest.task))
    audio = read_stream(manifest, manifest.rows, collator.sampling_rate, READERS)
    embeddings: list[torch.Tensor] = []
    for start in range(0, len(manifest), batch_size):
        ids = [row.id for row in manifest.rows[start : start + batch_size]]
        batch = collator.prompts(ids, [next(audio) for _ in ids])
        on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
        embedded = architecture.embed(model, on_device["input_ids"], architecture.hear(model, on_device))
        embeddings += [row[keep.bool()] for row, keep in zip(embedded, on_device["attention_mask"], strict=True)]
        if progress is not None:
            progress.update(len(ids))
    return Encoded(embeddings)


@torch.inference_mode()
def decode(
    translator: Translator,
    encoded: Encoded,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> list[str]:
    """The most probable token at every step, until the turn ends or after ``max_new_tokens``.

    Utterances of similar length are decoded together; the texts come back in the order of ``encoded``, without
    special tokens, stripped, on one line each. In float32 they don't depend on ``batch_size``.
    """
    tokenizer = translator.processor.tokenizer
    order = sorted(range(len(encoded)), key=lambda index: len(encoded.embeddings[index]), reverse=True)
    texts = [""] * len(encoded)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        tokens = _generate(translator, [encoded.embeddings[index] for index in chosen], max_new_tokens)
        decoded = tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for index, text in zip(chosen, decoded, strict=True):
            texts[index] = " ".join(text.splitlines()).strip()
        if progress is not None:
            progress.update(len(chosen))
    return texts


def translate(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> list[str]:
    """Translate a manifest of any size: :func:`encode` and :func:`decode` a few batches at a time.

    ``progress`` is moved on as utterances are finished.
    """
    texts = [""] * len(manifest)
    for indices in _chunks(manifest, batch_size * CHUNK_BATCHES):
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[index] for index in indices])
        encoded = encode(translator, part, batch_size=batch_size)
        decoded = decode(translator, encoded, batch_size=batch_size, max_new_tokens=max_new_tokens, progress=progress)
        for index, text in zip(indices, decoded, strict=True):
            texts[index] = text
    return texts


def _chunks(manifest: Manifest, size: int) -> Iterator[list[int]]:
    """Indices of the rows, longest first, so that a chunk's batches need little padding."""
    order = sorted(range(len(manifest)), key=lambda index: manifest.rows[index].duration, reverse=True)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _generate(translator: Translator, embeddings: list[torch.Tensor], max_new_tokens: int) -> list[list[int]]:
    """Tokens of each utterance up to and without the one that ends its turn."""
    model = translator.model
    decoder, head, embed = (
        translator.architecture.decoder(model),
        model.get_output_embeddings(),
        model.get_input_embeddings(),
    )
    ends = torch.tensor(sorted(_end_tokens(translator)), device=model.device)
    inputs, mask = _pad_left(embeddings, max_new_tokens)
    prompt = inputs.shape[1]
    # Positions count real tokens only, so padding shifts nobody.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=decoder.config)
    finished = torch.zeros(len(embeddings), dtype=torch.bool, device=model.device)
    steps: list[torch.Tensor] = []
    start = 0
    for end in range(prompt, prompt + max_new_tokens):
        hidden = decoder(
            inputs_embeds=inputs,
            attention_mask=mask[:, :end],
            position_ids=positions[:, start:end],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        token = head(hidden[:, -1]).argmax(dim=-1)
        finished = finished | torch.isin(token, ends)
        if finished.all():
            break
        steps.append(torch.where(finished, -1, token))
        inputs = embed(token)[:, None]
        start = end
    if not steps:
        return [[] for _ in embeddings]
    return [[token for token in row if token >= 0] for row in torch.stack(steps, dim=1).tolist()]


def _pad_left(embeddings: list[torch.Tensor], max_new_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One (utterances, longest, hidden) tensor, and its mask with room for the tokens to come."""
    longest = max(len(row) for row in embeddings)
    first = embeddings[0]
    inputs = first.new_zeros(len(embeddings), longest, first.shape[1])
    mask = torch.ones(len(embeddings), longest + max_new_tokens, dtype=torch.int64, device=first.device)
    for index, row in enumerate(embeddings):
        inputs[index, longest - len(row) :] = row
        mask[index, : longest - len(row)] = 0
    return inputs, mask


def _end_tokens(translator: Translator) -> set[int]:
    """The tokenizer's end token, which training uses, and those the model's own configuration names."""
    named = translator.model.generation_config.eos_token_id
    several = named if isinstance(named, list) else [named]
    return {token for token in (*several, translator.processor.tokenizer.eos_token_id) if token is not None}

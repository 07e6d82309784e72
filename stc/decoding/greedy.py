"""Greedy translation of many utterances at once.

The audio tower, the projector and the prompt don't depend on which decoder layers are kept, so their output is
computed once (:func:`encode`) and can be decoded many times (:func:`decode`). The loop is our own because
``generate`` takes what it isn't told from the folder's generation_config, and a repetition penalty or sampling
found there would change results; of that file only the tokens that end a turn are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers.cache_utils import Cache

from stc.data.audio import read_stream
from stc.data.collate import Collator
from stc.data.manifest import Manifest, Task
from stc.decoding.cache import roomy_cache
from stc.decoding.packed import Decoder, Packed, end_tokens, suits
from stc.memory import BatchSize
from stc.stage import Progress

if TYPE_CHECKING:
    from stc.decoding.features import Features
    from stc.models.checkpoint import Translator

READERS = 4  # threads that decode audio ahead of the encoder
WORTH_MOVING = 0.75  # of a batch's utterances still running
DECODE_BATCH = "resources.decode_batch"  # what the user sets
CHUNK_BATCHES = 8  # batches whose embeddings :func:`translate` holds at a time


@dataclass(frozen=True)
class Encoded:
    """The decoder's input embeddings of each utterance's prompt and audio: (positions, hidden), not padded."""

    embeddings: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.embeddings)


def encode(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
    features: Features | None = None,
) -> Encoded:
    """Run the audio tower and the projector over every utterance; the result stays on the model's device.

    Args:
        progress: a bar, moved on by each batch's utterances.
        features: what the encoder makes of the recordings, where that is known; no audio is read then.

    Raises:
        InputError: audio is unreadable, not the one the manifest lists, or longer than the model's window; or the
            features lack it.
    """
    if features is not None:
        return Encoded(features.embeddings(translator, manifest, BatchSize.of(batch_size, DECODE_BATCH), progress))
    rate = translator.processor.feature_extractor.sampling_rate
    audio = read_stream(manifest, manifest.rows, rate, READERS)
    ids = [row.id for row in manifest.rows]
    return encode_audio(translator, manifest.task, ids, audio, batch_size=batch_size, progress=progress)


@torch.inference_mode()
def encode_audio(
    translator: Translator,
    task: Task,
    ids: Sequence[str],
    audio: Iterable[np.ndarray],
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
) -> Encoded:
    """:func:`encode` for audio that is at hand.

    Args:
        ids: of the utterances, for error messages.
        audio: float32 samples of each at the model's sampling rate.
    """
    architecture, model = translator.architecture, translator.model
    collator = Collator(translator.processor, architecture.prompt(translator.processor, task))
    waiting = iter(audio)
    embeddings: list[torch.Tensor] = []

    def hear(named: Sequence[tuple[str, np.ndarray]]) -> None:
        nonlocal embeddings
        batch = collator.prompts([name for name, _ in named], [samples for _, samples in named])
        on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
        embedded = architecture.embed(model, on_device["input_ids"], architecture.hear(model, on_device))
        embeddings += [row[keep.bool()] for row, keep in zip(embedded, on_device["attention_mask"], strict=True)]
        if progress is not None:
            progress.update(len(named))

    size = BatchSize.of(batch_size, DECODE_BATCH)
    read = 0
    while read < len(ids):
        names = ids[read : read + size.size]
        size.over([(name, next(waiting)) for name in names], hear)
        read += len(names)
    return Encoded(embeddings)


@torch.inference_mode()
def decode(
    translator: Translator,
    encoded: Encoded,
    *,
    batch_size: int | BatchSize,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> list[str]:
    """The most probable token at every step, until the turn ends or after ``max_new_tokens``.

    Utterances of similar length are decoded together; the texts come back in the order of ``encoded``, without
    special tokens, stripped, on one line each. In float32 they don't depend on ``batch_size``, which is halved where
    memory runs out.
    """
    texts = [""] * len(encoded)
    continued = _continued_packed if suits(translator) else _continued

    def translated(indices: Sequence[int]) -> None:
        for index, text in zip(indices, continued(translator, encoded, indices, max_new_tokens), strict=True):
            texts[index] = text
        if progress is not None:
            progress.update(len(indices))

    BatchSize.of(batch_size, DECODE_BATCH).over(by_length(encoded), translated)
    return texts


def _continued(translator: Translator, encoded: Encoded, indices: Sequence[int], max_new_tokens: int) -> list[str]:
    prompts = padded(encoded, indices, max_new_tokens)
    cache = roomy_cache(len(translator.architecture.decoder(translator.model).layers), max_new_tokens)
    hidden = run_layers(translator, prompts.embeddings, prompts, cache)
    return complete(translator, hidden, prompts, cache)


def _continued_packed(
    translator: Translator, encoded: Encoded, indices: Sequence[int], max_new_tokens: int
) -> list[str]:
    prompts = Packed.of([encoded.embeddings[index] for index in indices])
    layers = range(len(translator.architecture.decoder(translator.model).layers))
    decoder = Decoder(
        translator,
        layers,
        tokens=len(prompts.embeddings),
        rows=len(indices),
        max_new_tokens=max_new_tokens,
        slots=len(layers),
    )
    hidden, rotation = prompts.embeddings, decoder.rotation(prompts)
    for layer in layers:
        hidden = decoder.through(layer, hidden, prompts, rotation, slot=layer)
    own = torch.arange(len(layers), device=hidden.device)[:, None].expand(-1, len(indices))
    tokens = decoder.complete(
        hidden, prompts.starts[:-1], prompts.starts.diff(), own, torch.zeros_like(own, dtype=torch.bool)
    )
    return texts_of(translator, spoken(tokens))


def spoken(tokens: torch.Tensor) -> list[list[int]]:
    """The tokens of each row, of (rows, new tokens) with -1 where there is none."""
    return [[token for token in row if token >= 0] for row in tokens.tolist()]


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

    def encoded(indices: list[int]) -> Encoded:
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[index] for index in indices])
        return encode(translator, part, batch_size=size)

    size = BatchSize(batch_size, DECODE_BATCH)
    durations = [row.duration for row in manifest.rows]
    return _in_chunks(translator, durations, encoded, size, max_new_tokens, progress)


def translate_audio(
    translator: Translator,
    task: Task,
    ids: Sequence[str],
    audio: Sequence[np.ndarray],
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> list[str]:
    """:func:`translate` for audio that is at hand, as :func:`encode_audio` takes it."""

    def encoded(indices: list[int]) -> Encoded:
        names = [ids[index] for index in indices]
        return encode_audio(translator, task, names, [audio[index] for index in indices], batch_size=size)

    size = BatchSize(batch_size, DECODE_BATCH)
    return _in_chunks(translator, list(map(len, audio)), encoded, size, max_new_tokens, progress)


def _in_chunks(
    translator: Translator,
    lengths: Sequence[float],
    encoded: Callable[[list[int]], Encoded],
    batch_size: BatchSize,
    max_new_tokens: int,
    progress: Progress | None,
) -> list[str]:
    """The texts of utterances of these lengths, which ``encoded`` encodes by their indices: longest first, so that a
    chunk's batches need little padding."""
    texts = [""] * len(lengths)
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    size = batch_size.size * CHUNK_BATCHES
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        decoded = decode(
            translator, encoded(indices), batch_size=batch_size, max_new_tokens=max_new_tokens, progress=progress
        )
        for index, text in zip(indices, decoded, strict=True):
            texts[index] = text
    return texts


@dataclass(frozen=True)
class Prompts:
    """The prompts of one batch, padded on the left.

    Attributes:
        embeddings: (utterances, longest, hidden).
        mask: 1 for what is not padding, with room for the tokens to come: (utterances, longest + new tokens).
        positions: of each, counting real tokens only, so that padding shifts nobody; shape as ``mask``.
    """

    embeddings: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor

    @property
    def longest(self) -> int:
        return self.embeddings.shape[1]


def by_length(encoded: Encoded) -> list[int]:
    """The indices of the utterances, the longest first, so that a batch holds utterances of similar length."""
    return sorted(range(len(encoded)), key=lambda index: len(encoded.embeddings[index]), reverse=True)


def padded(encoded: Encoded, indices: Sequence[int], max_new_tokens: int) -> Prompts:
    """The prompts of some utterances as one batch."""
    rows = [encoded.embeddings[index] for index in indices]
    longest = max(map(len, rows))
    embeddings = rows[0].new_zeros(len(rows), longest, rows[0].shape[1])
    mask = torch.ones(len(rows), longest + max_new_tokens, dtype=torch.int64, device=embeddings.device)
    for number, row in enumerate(rows):
        embeddings[number, longest - len(row) :] = row
        mask[number, : longest - len(row)] = 0
    return Prompts(embeddings, mask, (mask.cumsum(dim=1) - 1).clamp(min=0))


def run_layers(translator: Translator, inputs: torch.Tensor, prompts: Prompts, cache: Cache) -> torch.Tensor:
    """The decoder's output for whole prompts, (utterances, longest, hidden), with the cache filled on the way.

    Args:
        inputs: what its first layer takes, (utterances, longest, hidden).
    """
    hidden: torch.Tensor = translator.architecture.decoder(translator.model)(
        inputs_embeds=inputs,
        attention_mask=prompts.mask[:, : prompts.longest],
        position_ids=prompts.positions[:, : prompts.longest],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden


def complete(translator: Translator, hidden: torch.Tensor, prompts: Prompts, cache: Cache) -> list[str]:
    """The text that follows each prompt.

    Args:
        hidden: what the decoder gave for the prompts, (utterances, longest, hidden).
        cache: as it was left by that; used up here.
    """
    return texts_of(translator, _complete(translator, hidden[:, -1:], prompts, cache))


def texts_of(translator: Translator, tokens: list[list[int]]) -> list[str]:
    """Tokens as texts: without special tokens, stripped, on one line each."""
    decoded = translator.processor.tokenizer.batch_decode(
        tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [" ".join(text.splitlines()).strip() for text in decoded]


def _complete(translator: Translator, hidden: torch.Tensor, prompts: Prompts, cache: Cache) -> list[list[int]]:
    """Tokens of each utterance up to and without the one that ends its turn.

    An utterance that has ended is computed along until enough have, to be worth moving the others together.
    """
    model = translator.model
    decoder = translator.architecture.decoder(model)
    head, embed = model.get_output_embeddings(), model.get_input_embeddings()
    ends = torch.tensor(sorted(end_tokens(translator)), device=model.device)
    mask, positions = prompts.mask, prompts.positions
    rows = torch.arange(len(mask), device=mask.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(mask), mask.shape[1] - prompts.longest), -1, device=mask.device)
    for step, place in enumerate(range(prompts.longest, mask.shape[1])):
        token = head(hidden[:, -1]).argmax(dim=-1)
        running = running & ~torch.isin(token, ends)
        tokens[rows, step] = torch.where(running, token, -1)
        left = int(running.sum())
        if left == 0 or step + 1 == tokens.shape[1]:
            break
        if left <= WORTH_MOVING * len(rows):
            cache.batch_select_indices(running.nonzero()[:, 0])
            rows, token, mask, positions = rows[running], token[running], mask[running], positions[running]
            running = running[running]
        hidden = decoder(
            inputs_embeds=embed(token)[:, None],
            attention_mask=mask[:, : place + 1],
            position_ids=positions[:, place : place + 1],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
    return spoken(tokens)

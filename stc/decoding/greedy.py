"""Greedy translation of many utterances at once.

The decoder's input embeddings do not depend on which decoder layers are kept. They are computed once
(:func:`embed_prompts`) and can be decoded many times (:func:`decode`). Of a folder's generation_config only the tokens
that end a turn are used, since a repetition penalty or sampling would change results. stc's own engines decode;
transformers' ``generate`` decodes models that they do not support.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from stc.data.audio import read_stream
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding import cpu_engine, gpu_engine
from stc.decoding.features import FeatureReader, KnownStates, RememberedStates
from stc.decoding.tokens import decode_texts
from stc.models.architecture import EncodedAudio
from stc.models.language_pair import Task
from stc.pipeline.stage import Progress
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

T = TypeVar("T")
R = TypeVar("R")

READERS = 4  # threads that read audio ahead of the encoder
DECODE_BATCH = "resources.decode_batch"  # the setting, for messages
ENCODE_BATCH = 32  # at most; the next batch's features are computed while the GPU encodes this one
CHUNK_BATCHES = 8  # batches whose embeddings :func:`translate` holds at a time


def embed_prompts(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
    features: KnownStates | None = None,
) -> list[Tensor]:
    """Return the decoder's input embeddings for each utterance's prompt with its audio, (positions, hidden) each.

    Args:
        progress: a bar that counts utterances.
        features: the encoder's output for the recordings, if it is known. Then no audio is read. What is remembered is
            completed where recordings are missing.

    Raises:
        InputError: audio is unreadable, not the one that the manifest lists, or longer than the model's window; or
            the features lack it.
        StcError: memory does not suffice for one utterance.
    """
    recordings = [row.sha256 for row in manifest.rows]
    remembered = features if isinstance(features, RememberedStates) else None
    if features is None or (remembered is not None and not remembered.has(recordings)):
        rate = translator.processor.feature_extractor.sampling_rate
        audio = read_stream(manifest, manifest.rows, rate, READERS)
        ids = [row.id for row in manifest.rows]
        keep = None if remembered is None else partial(remembered.remember, iter(recordings))
        return embed_audio_prompts(
            translator, manifest.task, ids, audio, batch_size=batch_size, progress=progress, keep=keep
        )
    if isinstance(features, FeatureReader):
        features.require(manifest)
    collator = Collator.of(translator, manifest.task)

    embeddings: list[Tensor] = []

    def embed(rows: Sequence[int]) -> None:
        names = [recordings[row] for row in rows]
        batch, encoded = (
            collator.pad(features.prompts(collator, names)),
            features.encoded(names, translator.model.device),
        )
        embeddings.extend(_embed(translator, batch, encoded))
        if progress is not None:
            progress.update(len(rows))

    BatchSize.of(batch_size, DECODE_BATCH).over(range(len(manifest)), embed)
    return embeddings


def embed_audio_prompts(
    translator: Translator,
    task: Task,
    ids: Sequence[str],
    audio: Iterable[np.ndarray],
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
    keep: Callable[[EncodedAudio], None] | None = None,
) -> list[Tensor]:
    """Do :func:`embed_prompts` for audio in memory.

    Args:
        ids: of the utterances, for error messages.
        audio: float32 samples of each utterance, at the model's sampling rate.
        keep: called with the encoder's output for the next utterances, in order.
    """
    model = translator.model
    collator = Collator.of(translator, task)
    waiting = iter(audio)
    encode_size = BatchSize.of(batch_size, DECODE_BATCH).at_most(ENCODE_BATCH)
    together = encode_size.size
    collate_size = BatchSize(together, DECODE_BATCH)  # its own, since a thread collates while another batch is encoded
    embeddings: list[Tensor] = []

    def collate(start: int) -> list[dict[str, Tensor]]:
        names = ids[start : start + together]
        samples = list(islice(waiting, len(names)))
        batches: list[dict[str, Tensor]] = []

        def collate_part(rows: Sequence[int]) -> None:
            batches.append(collator.prompts([names[row] for row in rows], [samples[row] for row in rows]))

        collate_size.over(range(len(names)), collate_part)
        return batches

    def embed(collated: Mapping[str, Tensor], rows: Sequence[int]) -> None:
        batch = {name: tensor[rows[0] : rows[-1] + 1].to(model.device) for name, tensor in collated.items()}
        encoded = translator.architecture.encode_audio(model, batch)
        embeddings.extend(_embed(translator, batch, encoded))
        if keep is not None:  # after all that may run out of memory and be tried again
            keep(encoded)
        if progress is not None:
            progress.update(len(rows))

    with torch.inference_mode():
        for collated in chain.from_iterable(one_ahead(collate, range(0, len(ids), together))):
            encode_size.over(range(len(collated["input_ids"])), partial(embed, collated))
    return embeddings


@torch.inference_mode()
def _embed(translator: Translator, prompts: Mapping[str, Tensor], encoded: EncodedAudio) -> list[Tensor]:
    """Return the embeddings of padded prompts, each without its padding."""
    lengths = prompts["attention_mask"].sum(dim=1).tolist()
    embedded = translator.architecture.embed(
        translator.model, prompts["input_ids"].to(translator.model.device), encoded
    )
    return [row[:length] for row, length in zip(embedded, lengths, strict=True)]


def one_ahead(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what ``make`` returns for each item. A thread makes the next one while one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[R] | None = None
        for item in items:
            following = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


@torch.inference_mode()
def decode(
    translator: Translator,
    prompts: Sequence[Tensor],
    *,
    batch_size: int | BatchSize,
    max_new_tokens: int,
    progress: Progress | None = None,
    cut_off: set[int] | None = None,
) -> list[str]:
    """Continue each prompt with the most probable token at every step, until its turn ends or at ``max_new_tokens``.

    Utterances of similar length are decoded together. In float32, texts do not depend on ``batch_size``, which is
    halved when memory runs out.

    Args:
        prompts: what :func:`embed_prompts` returns.
        cut_off: gets the indices of the texts that reach ``max_new_tokens`` before their turn ends.

    Returns:
        The texts in the order of ``prompts``, without special tokens, stripped, on one line each.
    """
    texts = [""] * len(prompts)
    generate_tokens = _engine(translator)

    def decode_batch(indices: Sequence[int]) -> None:
        tokens = generate_tokens(translator, [prompts[index] for index in indices], max_new_tokens)
        if cut_off is not None:
            cut_off.update(index for index, row in zip(indices, tokens, strict=True) if len(row) >= max_new_tokens)
        for index, text in zip(indices, decode_texts(translator, tokens), strict=True):
            texts[index] = text
        if progress is not None:
            progress.update(len(indices))

    BatchSize.of(batch_size, DECODE_BATCH).over(longest_first(prompts), decode_batch)
    return texts


def _engine(translator: Translator) -> Callable[[Translator, Sequence[Tensor], int], list[list[int]]]:
    if translator.unsupported_by_engines:
        from stc.decoding import transformers_generate  # imports all of transformers' generation

        return transformers_generate.generate_tokens
    return gpu_engine.generate_tokens if gpu_engine.is_supported(translator) else cpu_engine.generate_tokens


def translate(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
    features: KnownStates | None = None,
    cut_off: set[int] | None = None,
) -> list[str]:
    """Translate a manifest of any size: :func:`embed_prompts` and :func:`decode`, a few batches at a time.

    Args:
        progress: a bar that counts finished utterances.
        features: as in :func:`embed_prompts`.
        cut_off: as in :func:`decode`.
    """

    def embed(indices: list[int], size: BatchSize) -> list[Tensor]:
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[index] for index in indices])
        return embed_prompts(translator, part, batch_size=size, features=features)

    durations = [row.duration for row in manifest.rows]
    return _translate_in_chunks(translator, durations, embed, batch_size, max_new_tokens, progress, cut_off)


def translate_audio(
    translator: Translator,
    task: Task,
    ids: Sequence[str],
    audio: Sequence[np.ndarray],
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
    cut_off: set[int] | None = None,
) -> list[str]:
    """Do :func:`translate` for audio in memory, as :func:`embed_audio_prompts` takes it."""

    def embed(indices: list[int], size: BatchSize) -> list[Tensor]:
        names, samples = [ids[index] for index in indices], [audio[index] for index in indices]
        return embed_audio_prompts(translator, task, names, samples, batch_size=size)

    return _translate_in_chunks(translator, list(map(len, audio)), embed, batch_size, max_new_tokens, progress, cut_off)


def _translate_in_chunks(
    translator: Translator,
    lengths: Sequence[float],
    embed: Callable[[list[int], BatchSize], list[Tensor]],
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None,
    cut_off: set[int] | None = None,
) -> list[str]:
    """Translate utterances of these lengths, longest first, so that the batches of a chunk need little padding.

    Args:
        embed: returns the embedded prompts of utterances by their indices.
    """
    texts = [""] * len(lengths)
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    decode_size = BatchSize(batch_size, DECODE_BATCH)
    encode_size = BatchSize(batch_size, DECODE_BATCH).at_most(ENCODE_BATCH)
    chunk = batch_size * CHUNK_BATCHES
    for start in range(0, len(order), chunk):
        indices = order[start : start + chunk]
        prompts = embed(indices, encode_size)
        cut_in_chunk: set[int] = set()
        found = decode(
            translator,
            prompts,
            batch_size=decode_size,
            max_new_tokens=max_new_tokens,
            progress=progress,
            cut_off=cut_in_chunk,
        )
        for index, text in zip(indices, found, strict=True):
            texts[index] = text
        if cut_off is not None:
            cut_off.update(indices[place] for place in cut_in_chunk)
    return texts


def longest_first(prompts: Sequence[Tensor]) -> list[int]:
    """Return the indices of prompts by length, so that batches hold utterances of similar length."""
    return sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)

"""Greedy translation of many utterances at once.

The audio tower, the projector and the prompt don't depend on which decoder layers are kept, so their output is
computed once (:func:`embed_prompts`) and can be decoded many times (:func:`decode`). Of the folder's
generation_config only the tokens that end a turn are used: a repetition penalty or sampling would change results. The
loop is our own, unless the model is one that stc's engines do not compute; transformers' ``generate`` decodes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from stc.data.audio import read_stream
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding import cpu_engine as ragged
from stc.decoding import gpu_engine as packed
from stc.decoding.tokens import decode_texts
from stc.models.task import Task
from stc.pipeline.stage import Progress
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator

T = TypeVar("T")
R = TypeVar("R")

READERS = 4  # threads that decode audio ahead of the encoder
DECODE_BATCH = "resources.decode_batch"  # what the user sets
ENCODE_BATCH = 32  # at most; while the GPU hears some, the features of the next are made
CHUNK_BATCHES = 8  # batches whose embeddings :func:`translate` holds at a time


@dataclass(frozen=True)
class Encoded:
    """The decoder's input embeddings of each utterance's prompt and audio: (positions, hidden), not padded."""

    embeddings: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self, indices: Sequence[int]) -> list[torch.Tensor]:
        """Those of some utterances."""
        return [self.embeddings[index] for index in indices]


def embed_prompts(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
    features: FeatureReader | None = None,
) -> Encoded:
    """Run the audio tower and the projector over every utterance; the result stays on the model's device.

    Args:
        progress: a bar, moved on by each batch's utterances.
        features: what the encoder makes of the recordings, where that is known; no audio is read then.

    Raises:
        InputError: audio is unreadable, not the one the manifest lists, or longer than the model's window; or the
            features lack it.
        StcError: memory does not suffice for one utterance.
    """
    if features is not None:
        return Encoded(features.embeddings(translator, manifest, BatchSize.of(batch_size, DECODE_BATCH), progress))
    rate = translator.processor.feature_extractor.sampling_rate
    audio = read_stream(manifest, manifest.rows, rate, READERS)
    ids = [row.id for row in manifest.rows]
    return embed_audio_prompts(translator, manifest.task, ids, audio, batch_size=batch_size, progress=progress)


@torch.inference_mode()
def embed_audio_prompts(
    translator: Translator,
    task: Task,
    ids: Sequence[str],
    audio: Iterable[np.ndarray],
    *,
    batch_size: int | BatchSize,
    progress: Progress | None = None,
) -> Encoded:
    """:func:`embed_prompts` for audio that is at hand.

    Args:
        ids: of the utterances, for error messages.
        audio: float32 samples of each at the model's sampling rate.
    """
    architecture, model = translator.architecture, translator.model
    collator = Collator.of(translator, task)
    waiting = iter(audio)
    size = BatchSize.of(batch_size, DECODE_BATCH).at_most(ENCODE_BATCH)
    together = size.size
    making = BatchSize(together, DECODE_BATCH)  # its own: in a thread, while another batch is heard
    embeddings: list[torch.Tensor] = []

    def prepare(start: int) -> list[dict[str, torch.Tensor]]:
        names = ids[start : start + together]
        samples = list(islice(waiting, len(names)))
        made: list[dict[str, torch.Tensor]] = []

        def make(rows: Sequence[int]) -> None:
            made.append(collator.prompts([names[row] for row in rows], [samples[row] for row in rows]))

        making.over(range(len(names)), make)
        return made

    def hear(prepared: dict[str, torch.Tensor], rows: Sequence[int]) -> None:
        batch = {name: tensor[rows[0] : rows[-1] + 1] for name, tensor in prepared.items()}
        lengths = batch.pop("attention_mask").sum(dim=1).tolist()
        on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
        embedded = architecture.embed(model, on_device["input_ids"], architecture.encode_audio(model, on_device))
        embeddings.extend(row[:length] for row, length in zip(embedded, lengths, strict=True))
        if progress is not None:
            progress.update(len(rows))

    for prepared in chain.from_iterable(_ahead(prepare, range(0, len(ids), together))):
        size.over(range(len(prepared["input_ids"])), partial(hear, prepared))
    return Encoded(embeddings)


def _ahead(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What ``make`` gives for each item; while one is used, a thread makes the next."""
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
    generate_tokens = _engine(translator)

    def translated(indices: Sequence[int]) -> None:
        said = decode_texts(translator, generate_tokens(translator, encoded.rows(indices), max_new_tokens))
        for index, text in zip(indices, said, strict=True):
            texts[index] = text
        if progress is not None:
            progress.update(len(indices))

    BatchSize.of(batch_size, DECODE_BATCH).over(longest_first(encoded), translated)
    return texts


def _engine(translator: Translator) -> Callable[[Translator, Sequence[torch.Tensor], int], list[list[int]]]:
    """What decodes a model, in the order of preference: on a GPU, on a CPU, and whatever neither computes."""
    if translator.unsupported_by_engines:
        from stc.decoding import transformers_generate as generated  # which imports all of transformers' generation

        return generated.generate_tokens
    return packed.generate_tokens if packed.is_supported(translator) else ragged.generate_tokens


def translate(
    translator: Translator,
    manifest: Manifest,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
    features: FeatureReader | None = None,
) -> list[str]:
    """Translate a manifest of any size: :func:`embed_prompts` and :func:`decode` a few batches at a time.

    ``progress`` is moved on as utterances are finished; ``features`` are as for :func:`embed_prompts`.
    """

    def encoded(indices: list[int], size: BatchSize) -> Encoded:
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[index] for index in indices])
        return embed_prompts(translator, part, batch_size=size, features=features)

    durations = [row.duration for row in manifest.rows]
    return _in_chunks(translator, durations, encoded, batch_size, max_new_tokens, progress)


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
    """:func:`translate` for audio that is at hand, as :func:`embed_audio_prompts` takes it."""

    def encoded(indices: list[int], size: BatchSize) -> Encoded:
        names = [ids[index] for index in indices]
        return embed_audio_prompts(translator, task, names, [audio[index] for index in indices], batch_size=size)

    return _in_chunks(translator, list(map(len, audio)), encoded, batch_size, max_new_tokens, progress)


def _in_chunks(
    translator: Translator,
    lengths: Sequence[float],
    encoded: Callable[[list[int], BatchSize], Encoded],
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None,
) -> list[str]:
    """The texts of utterances of these lengths, which ``encoded`` encodes by their indices, so many at a time: longest
    first, so that a chunk's batches need little padding."""
    texts = [""] * len(lengths)
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    decoding = BatchSize(batch_size, DECODE_BATCH)
    hearing = BatchSize(batch_size, DECODE_BATCH).at_most(ENCODE_BATCH)
    chunk = batch_size * CHUNK_BATCHES
    for start in range(0, len(order), chunk):
        indices = order[start : start + chunk]
        heard = encoded(indices, hearing)
        decoded = decode(translator, heard, batch_size=decoding, max_new_tokens=max_new_tokens, progress=progress)
        for index, text in zip(indices, decoded, strict=True):
            texts[index] = text
    return texts


def longest_first(encoded: Encoded) -> list[int]:
    """The indices of the utterances, the longest first, so that a batch holds utterances of similar length."""
    return sorted(range(len(encoded)), key=lambda index: len(encoded.embeddings[index]), reverse=True)

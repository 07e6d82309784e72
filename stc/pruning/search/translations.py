"""Translating without each of many layers in turn: the inner loop of a greedy search."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stc.data.manifest import Manifest
from stc.decoding.cpu_engine import CPUDecoder, SharedPrefixPrompts
from stc.decoding.gpu_engine import is_supported
from stc.decoding.greedy import DECODE_BATCH, Encoded, decode, embed_prompts, longest_first
from stc.decoding.tokens import decode_texts, without_padding
from stc.models.architecture import Stack
from stc.models.surgery import without_layers
from stc.pruning.search.gpu import tokens_without_each
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator

LayersByStack = Mapping[Stack, Collection[int]]
"""Stack → layers, numbered as in the model."""


def translations_without_each(
    translator: Translator,
    manifest: Manifest,
    removed: LayersByStack,
    candidates: LayersByStack,
    *,
    batch_size: int,
    max_new_tokens: int,
    features: FeatureReader | None = None,
) -> Iterator[tuple[Stack, int, list[str]]]:
    """(stack, candidate, translations by the model without ``removed`` and the candidate), decoder first.

    For all candidates of the decoder the audio is encoded once, or not at all where its ``features`` are given and the
    encoder is whole. Each of the encoder's hears it anew.
    """
    gone = removed["encoder"]
    size = BatchSize(batch_size, DECODE_BATCH)
    if candidates["decoder"]:
        with without_layers(translator, {"encoder": gone}):
            encoded = embed_prompts(translator, manifest, batch_size=size, features=None if gone else features)
        for layer, texts in translate_without_each(
            translator,
            encoded,
            removed["decoder"],
            candidates["decoder"],
            batch_size=size,
            max_new_tokens=max_new_tokens,
        ):
            yield "decoder", layer, texts
    for layer in sorted(candidates["encoder"]):
        with without_layers(translator, {**removed, "encoder": [*gone, layer]}):
            encoded = embed_prompts(translator, manifest, batch_size=size)
            texts = decode(translator, encoded, batch_size=size, max_new_tokens=max_new_tokens)
        yield "encoder", layer, texts


@torch.inference_mode()
def translate_without_each(
    translator: Translator,
    encoded: Encoded,
    removed: Collection[int],
    candidates: Collection[int],
    *,
    batch_size: int | BatchSize,
    max_new_tokens: int,
) -> Iterator[tuple[int, list[str]]]:
    """(candidate, translations by the model without ``removed`` and the candidate), from the lowest candidate up.

    The texts are those of :func:`stc.decoding.greedy.decode` on that model. What the layers below a candidate make of
    the prompts is the same for every candidate above them, so it is computed once: on the way up, one layer at a
    time, their output and their keys and values are kept. A candidate's own work on the prompts starts at the layer
    above it. Where memory runs out, smaller batches go on with what is left. Of a model that stc's engines do not
    compute nothing is shared: each candidate is decoded by itself.

    Raises:
        StcError: memory does not suffice for one utterance.
    """
    if translator.unsupported_by_engines:
        for layer in sorted(candidates):
            with without_layers(translator, {"decoder": [*removed, layer]}):
                texts = decode(translator, encoded, batch_size=batch_size, max_new_tokens=max_new_tokens)
            yield layer, texts
        return
    count = len(translator.architecture.layers_of(translator.model, "decoder"))
    kept = [layer for layer in range(count) if layer not in removed]
    left = _Left(longest_first(encoded), {layer: [] for layer in sorted(candidates)})
    engine = _on_gpu if is_supported(translator) else _on_cpu
    size = BatchSize.of(batch_size, DECODE_BATCH)
    yield from size.resumed(lambda rows: engine(translator, encoded, kept, left, rows, max_new_tokens))


@dataclass(frozen=True)
class _Left:
    """What is left of a round.

    Attributes:
        order: of the utterances.
        known: candidate → translations of the first utterances in that order.
    """

    order: Sequence[int]
    known: dict[int, list[str]]

    def pop(self, layer: int) -> tuple[int, list[str]]:
        """A candidate whose translations are all known, and they, in the utterances' own order."""
        texts = dict(zip(self.order, self.known.pop(layer), strict=True))
        return layer, [texts[index] for index in range(len(texts))]


def _on_cpu(
    translator: Translator, encoded: Encoded, kept: Sequence[int], left: _Left, batch_size: int, max_new_tokens: int
) -> Iterator[tuple[int, list[str]]]:
    """As :func:`translate_without_each`. All batches go up together."""
    starts = range(0, len(left.order), batch_size)
    together = [encoded.rows(left.order[start : start + batch_size]) for start in starts]
    climbs = [_Climb(translator, SharedPrefixPrompts.of(rows, max_new_tokens)) for rows in together]
    wanted = list(left.known)
    for place, layer in enumerate(kept[: kept.index(wanted[-1]) + 1] if wanted else []):
        if layer in wanted:
            below, above = kept[:place], kept[place + 1 :]
            left.known[layer] = [text for climb in climbs for text in climb.texts(below, above)]
            yield left.pop(layer)
        if layer != wanted[-1]:
            for climb in climbs:
                climb.pass_through(layer)


def _on_gpu(
    translator: Translator, encoded: Encoded, kept: Sequence[int], left: _Left, batch_size: int, max_new_tokens: int
) -> Iterator[tuple[int, list[str]]]:
    """As :func:`translate_without_each`. The keys and values of one batch at a time are kept, so that a candidate of
    several batches is complete only when the last of them gets there."""
    while left.known:
        reached = [len(texts) for texts in left.known.values()]
        start = min(reached)
        # Up to where candidates are that a larger batch, which ran out of memory, had got further with.
        end = min(start + batch_size, *(each for each in reached if each > start), len(left.order))
        behind = [layer for layer, texts in left.known.items() if len(texts) == start]
        found = tokens_without_each(
            translator,
            encoded.rows(left.order[start:end]),
            kept,
            behind,
            rows=batch_size,
            max_new_tokens=max_new_tokens,
        )
        for layer, tokens in found:
            left.known[layer] += decode_texts(translator, without_padding(tokens))
            if end == len(left.order):
                yield left.pop(layer)


class _Climb:
    """One batch on its way up: the input of the next layer, and what the layers below have written to memory."""

    def __init__(self, translator: Translator, prompts: SharedPrefixPrompts) -> None:
        self._translator = translator
        self._decoder = CPUDecoder(translator, prompts)
        self._hidden = prompts.embeddings
        self._below: list[Tensor] = []
        self._above: list[Tensor] = []  # written to anew for each candidate

    def pass_through(self, layer: int) -> None:
        memory = self._above.pop() if self._above else self._decoder.memory()
        self._hidden = self._decoder.run_layer(layer, self._hidden, memory)
        self._below.append(memory)

    def texts(self, below: Sequence[int], above: Sequence[int]) -> list[str]:
        """Of the decoder without the layer between."""
        while len(self._above) < len(above):
            self._above.append(self._decoder.memory())
        hidden = self._hidden
        for layer, memory in zip(above, self._above, strict=False):
            hidden = self._decoder.run_layer(layer, hidden, memory, last=layer == above[-1])
        memories = [*self._below, *self._above[: len(above)]]
        return decode_texts(self._translator, self._decoder.generate([*below, *above], memories, hidden))

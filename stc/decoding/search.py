"""Translating with each of many sets of decoder layers that differ in one: the inner loop of a greedy search."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache

from stc.decoding.cache import RoomyLayer, roomy_cache
from stc.decoding.greedy import Encoded, Prompts, complete, padded_batches, run_layers
from stc.models.surgery import only_layers

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


@torch.inference_mode()
def translate_without_each(
    translator: Translator,
    encoded: Encoded,
    removed: Collection[int],
    candidates: Collection[int],
    *,
    batch_size: int,
    max_new_tokens: int,
) -> Iterator[tuple[int, list[str]]]:
    """(candidate, translations by the model without ``removed`` and the candidate), from the lowest candidate up.

    The texts are those of :func:`stc.decoding.greedy.decode` on that model. What the layers below a candidate make of
    the prompts is the same for every candidate above them, so it is computed once: on the way up, one layer at a
    time, their output and their keys and values are kept. A candidate's own work on the prompts starts at the layer
    above it.
    """
    count = len(translator.architecture.decoder(translator.model).layers)
    kept = [layer for layer in range(count) if layer not in removed]
    climbs = [_Climb(indices, prompts) for indices, prompts in padded_batches(encoded, batch_size, max_new_tokens)]
    for place, layer in enumerate(kept[: kept.index(max(candidates)) + 1]):
        if layer in candidates:
            texts = [""] * len(encoded)
            for climb in climbs:
                said = climb.complete(translator, kept[:place], kept[place + 1 :], max_new_tokens)
                for index, text in zip(climb.indices, said, strict=True):
                    texts[index] = text
            yield layer, texts
        for climb in climbs:
            climb.pass_through(translator, layer, max_new_tokens)


class _Climb:
    """One batch on its way up: the input of the next layer, and what the layers below have cached."""

    def __init__(self, indices: list[int], prompts: Prompts) -> None:
        self.indices = indices
        self._prompts = prompts
        self._hidden = prompts.embeddings
        self._below: list[RoomyLayer] = []

    def pass_through(self, translator: Translator, layer: int, max_new_tokens: int) -> None:
        own = RoomyLayer(max_new_tokens)
        with only_layers(translator, [layer], norm=False):
            self._hidden = run_layers(translator, self._hidden, self._prompts, Cache(layers=[own]))
        self._below.append(own)

    def complete(self, translator: Translator, below: list[int], above: list[int], max_new_tokens: int) -> list[str]:
        cache = roomy_cache(len(above), max_new_tokens)
        with only_layers(translator, above):
            hidden = run_layers(translator, self._hidden, self._prompts, cache)
        whole = Cache(layers=[*(layer.shared() for layer in self._below), *cache.layers])
        with only_layers(translator, [*below, *above]):
            return complete(translator, hidden, self._prompts, whole)

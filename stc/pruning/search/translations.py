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
from stc.decoding.greedy import DECODE_BATCH, decode, embed_prompts, longest_first
from stc.decoding.tokens import decode_texts, without_padding
from stc.models.architecture import Stack
from stc.models.layer_removal import without_layers
from stc.pruning.search.gpu import tokens_without_each
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.load_and_save import Translator

LayersByStack = Mapping[Stack, Collection[int]]
"""The layers of each stack, numbered as in the model."""


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
    """Yield (stack, candidate, translations by the model without ``removed`` and the candidate), decoder first.

    For the candidates of the decoder the audio is encoded once, or not at all if its ``features`` are given and the
    encoder is complete. For each candidate of the encoder it is encoded again.
    """
    encoder_removed = removed["encoder"]
    size = BatchSize(batch_size, DECODE_BATCH)
    if candidates["decoder"]:
        with without_layers(translator, {"encoder": encoder_removed}):
            encoded = embed_prompts(
                translator, manifest, batch_size=size, features=None if encoder_removed else features
            )
        for layer, texts in decode_without_each(
            translator,
            encoded,
            removed["decoder"],
            candidates["decoder"],
            batch_size=size,
            max_new_tokens=max_new_tokens,
        ):
            yield "decoder", layer, texts
    for layer in sorted(candidates["encoder"]):
        with without_layers(translator, {**removed, "encoder": [*encoder_removed, layer]}):
            encoded = embed_prompts(translator, manifest, batch_size=size)
            texts = decode(translator, encoded, batch_size=size, max_new_tokens=max_new_tokens)
        yield "encoder", layer, texts


@torch.inference_mode()
def decode_without_each(
    translator: Translator,
    encoded: Sequence[Tensor],
    removed: Collection[int],
    candidates: Collection[int],
    *,
    batch_size: int | BatchSize,
    max_new_tokens: int,
) -> Iterator[tuple[int, list[str]]]:
    """Yield (candidate, translations by the model without ``removed`` and the candidate), the lowest candidate first.

    The texts are those of :func:`stc.decoding.greedy.decode` with that model. The layers below a candidate give the
    same output for every candidate above them. So their output, keys and values are computed once, one layer after the
    other, and a candidate's own work on the prompts starts at the layer above it. If memory runs out, smaller batches
    continue with the rest. With a model that stc's engines do not support, each candidate is decoded by itself.

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
    remaining = [layer for layer in range(count) if layer not in removed]
    texts_by_candidate: dict[int, list[str]] = {layer: [] for layer in sorted(candidates)}
    search = _Round(translator, encoded, longest_first(encoded), remaining, texts_by_candidate, max_new_tokens)
    size = BatchSize.of(batch_size, DECODE_BATCH)
    yield from size.resumed(search.on_gpu if is_supported(translator) else search.on_cpu)


@dataclass(frozen=True)
class _Round:
    """The candidates of a round that are not finished.

    Attributes:
        order: in which the utterances are translated.
        remaining: the layers of the decoder before a candidate is removed.
        texts: for each candidate, the translations of the first utterances in that order.
    """

    translator: Translator
    encoded: Sequence[Tensor]
    order: Sequence[int]
    remaining: Sequence[int]
    texts: dict[int, list[str]]
    max_new_tokens: int

    def on_cpu(self, batch_size: int) -> Iterator[tuple[int, list[str]]]:
        """Take all batches through the layers together."""
        batches = [self._embeddings(start, start + batch_size) for start in range(0, len(self.order), batch_size)]
        prompts = [SharedPrefixPrompts.of(batch, self.max_new_tokens) for batch in batches]
        ascents = [_Ascent(self.translator, one) for one in prompts]
        candidates = list(self.texts)
        for place, layer in enumerate(self.remaining[: self.remaining.index(candidates[-1]) + 1] if candidates else []):
            if layer in candidates:
                below, above = self.remaining[:place], self.remaining[place + 1 :]
                self.texts[layer] = [text for ascent in ascents for text in ascent.texts(below, above)]
                yield self._finish(layer)
            if layer != candidates[-1]:
                for ascent in ascents:
                    ascent.pass_through(layer)

    def on_gpu(self, batch_size: int) -> Iterator[tuple[int, list[str]]]:
        """Take one batch after the other through the layers, since only one has its keys and values in memory. So no
        candidate is finished before the last batch."""
        while self.texts:
            counts = [len(texts) for texts in self.texts.values()]
            start = min(counts)
            # Some candidates may be further: a larger batch, which ran out of memory, had finished them.
            end = min(start + batch_size, *(count for count in counts if count > start), len(self.order))
            behind = [layer for layer, texts in self.texts.items() if len(texts) == start]
            found = tokens_without_each(
                self.translator,
                self._embeddings(start, end),
                self.remaining,
                behind,
                rows=batch_size,
                max_new_tokens=self.max_new_tokens,
            )
            for layer, tokens in found:
                self.texts[layer] += decode_texts(self.translator, without_padding(tokens))
                if end == len(self.order):
                    yield self._finish(layer)

    def _embeddings(self, start: int, end: int) -> list[Tensor]:
        return [self.encoded[index] for index in self.order[start:end]]

    def _finish(self, layer: int) -> tuple[int, list[str]]:
        """Remove a candidate, and return it with its translations in the manifest's order."""
        texts = dict(zip(self.order, self.texts.pop(layer), strict=True))
        return layer, [texts[index] for index in range(len(texts))]


class _Ascent:
    """One batch on its way up through the layers: the input of the next layer, and the caches of the layers below."""

    def __init__(self, translator: Translator, prompts: SharedPrefixPrompts) -> None:
        self._translator = translator
        self._decoder = CPUDecoder(translator, prompts)
        self._hidden = prompts.embeddings
        self._below: list[Tensor] = []
        self._above: list[Tensor] = []  # overwritten for each candidate

    def pass_through(self, layer: int) -> None:
        memory = self._above.pop() if self._above else self._decoder.empty_cache()
        self._hidden = self._decoder.run_layer(layer, self._hidden, memory)
        self._below.append(memory)

    def texts(self, below: Sequence[int], above: Sequence[int]) -> list[str]:
        """Return the translations by the decoder without the layer between ``below`` and ``above``."""
        while len(self._above) < len(above):
            self._above.append(self._decoder.empty_cache())
        hidden = self._hidden
        for layer, memory in zip(above, self._above, strict=False):
            hidden = self._decoder.run_layer(layer, hidden, memory, last=layer == above[-1])
        memories = [*self._below, *self._above[: len(above)]]
        return decode_texts(self._translator, self._decoder.generate([*below, *above], memories, hidden))

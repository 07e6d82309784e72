"""Decoding on a CPU: prompts without padding, and the beginning that all prompts share computed once.

On a CPU, arithmetic and memory access cost most, and the number of operations costs less. Matrix products are over the
tokens of all unfinished utterances. Attention reads keys and values in place, for a few utterances of similar length at
a time, so that nothing is moved when some have ended. The engine for GPUs is :mod:`stc.decoding.gpu_engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stc.decoding.tokens import end_tokens

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

GROUP_SIZE = 8
"""Utterances whose next tokens share a call of attention. More share its cost, but read more for those that have ended,
and for the longest of them."""


@dataclass(frozen=True)
class SharedPrefixPrompts:
    """The prompts of some utterances.

    Attributes:
        embeddings: the beginning that all prompts share, then the rest of each, at least one token: (tokens, hidden).
        shared: the number of shared tokens.
        lengths: tokens of each whole prompt.
        new_tokens: the most tokens that follow each prompt.
    """

    embeddings: Tensor
    shared: int
    lengths: list[int]
    new_tokens: int

    @classmethod
    def of(cls, prompts: Sequence[Tensor], new_tokens: int) -> SharedPrefixPrompts:
        """Make it of prompts, (positions, hidden) each."""
        most = min(map(len, prompts)) - 1
        same = torch.stack([(row[:most] == prompts[0][:most]).all(dim=1) for row in prompts]).all(dim=0)
        shared = int(same.long().cumprod(dim=0).sum())
        embeddings = torch.cat([prompts[0][:shared], *(row[shared:] for row in prompts)])
        return cls(embeddings, shared, list(map(len, prompts)), new_tokens)

    @property
    def cache_length(self) -> int:
        """Positions in the cache for each utterance."""
        return max(self.lengths) + self.new_tokens

    @cached_property
    def spans(self) -> list[tuple[int, int, int]]:
        """The parts of the embeddings: utterance, first position, and the position after the last."""
        rest = [(row, self.shared, length) for row, length in enumerate(self.lengths)]
        return [(0, 0, self.shared), *rest] if self.shared else rest

    @cached_property
    def positions(self) -> Tensor:
        """The position of each embedding in its prompt: (tokens,), int64."""
        spans = [torch.arange(first, until) for _, first, until in self.spans]
        return torch.cat(spans).to(self.embeddings.device)

    @cached_property
    def ends(self) -> Tensor:
        """The index of each prompt's last embedding: (utterances,), int64."""
        counts = torch.tensor(self.lengths, device=self.embeddings.device) - self.shared
        return counts.cumsum(0) + self.shared - 1

    @cached_property
    def tokens(self) -> Tensor:
        """The index of the embedding for each position in :attr:`cache_positions`."""
        every = torch.arange(len(self.embeddings))
        rest = every[self.shared :].split([length - self.shared for length in self.lengths])
        return torch.cat([part for own in rest for part in (every[: self.shared], own)]).to(self.embeddings.device)

    @cached_property
    def cache_positions(self) -> Tensor:
        """The positions of all prompt tokens in the cache of all utterances: (tokens of whole prompts,), int64."""
        rows = [torch.arange(length) + row * self.cache_length for row, length in enumerate(self.lengths)]
        return torch.cat(rows).to(self.embeddings.device)


def generate_tokens(translator: Translator, prompts: Sequence[Tensor], new_tokens: int) -> list[list[int]]:
    """Return the tokens that follow each prompt, (positions, hidden) each, decoded in one batch."""
    decoder = CPUDecoder(translator, SharedPrefixPrompts.of(prompts, new_tokens))
    layers = range(len(translator.architecture.layers_of(translator.model, "decoder")))
    hidden, caches = decoder.prompts.embeddings, [decoder.empty_cache() for _ in layers]
    for layer, cache in zip(layers, caches, strict=True):
        hidden = decoder.run_layer(layer, hidden, cache, last=layer == layers[-1])
    return decoder.generate(layers, caches, hidden)


class CPUDecoder:
    """The layers of a translator's decoder, run one at a time on prompts and on the tokens that follow.

    The cache of a layer has its keys and values: (2, heads, utterances, cache length, width).
    """

    def __init__(self, translator: Translator, prompts: SharedPrefixPrompts) -> None:
        model, self._family = translator.model, translator.fast_path
        self._decoder = self._family.stack(model, "decoder")
        self._head, self._embed = model.get_output_embeddings(), model.get_input_embeddings()
        self._end_tokens = end_tokens(translator)
        self._heads, self._width, self._scale = self._family.attention_shape(self._decoder)
        self.prompts = prompts
        self._rotation = self._family.rotation(self._decoder, prompts.embeddings, prompts.positions)
        self._masks: dict[tuple[int, int], Tensor] = {}

    def empty_cache(self) -> Tensor:
        """Return a cache for one layer: zeros, because masked values are multiplied with 0 and must be numbers."""
        prompts = self.prompts
        size = (2, self._heads, len(prompts.lengths), prompts.cache_length, self._width)
        return prompts.embeddings.new_zeros(*size)

    def run_layer(self, layer: int, hidden: Tensor, cache: Tensor, *, last: bool = False) -> Tensor:
        """Return a layer's output for the prompts, (tokens, hidden), and write its keys and values to ``cache``.

        Args:
            layer: numbered as in the model.
            hidden: its input, (tokens, hidden).
            last: whether to compute the output at each prompt's end only, (utterances, hidden).
        """
        prompts, module, spans = self.prompts, self._decoder.layers[layer], self.prompts.spans
        query, key, value = self._family.attention_inputs(module, hidden, self._rotation)
        for kind, each in enumerate((key, value)):
            cache[kind].flatten(1, 2).index_copy_(1, prompts.cache_positions, each[prompts.tokens].transpose(0, 1))
        if last:
            hidden, query = hidden[prompts.ends], query[prompts.ends]
            spans = [(row, length - 1, length) for row, length in enumerate(prompts.lengths)]
        found = []
        for queries, (row, first, until) in zip(query.split([b - a for _, a, b in spans]), spans, strict=True):
            known = cache[:, None, :, row, :until]
            found.append(self._attend(queries.transpose(0, 1)[None], known, self._causal_mask(first, until)))
        attended = torch.cat(found, dim=2)[0].transpose(0, 1)
        output: Tensor = self._family.layer_output(module, hidden, attended)
        return output

    def generate(self, layers: Sequence[int], caches: Sequence[Tensor], last: Tensor) -> list[list[int]]:
        """Return the tokens that follow each prompt, without the one that ends its turn.

        Args:
            layers: the layers that the decoder has, from the lowest up.
            caches: of each layer, with the prompts. The new tokens' keys and values are added.
            last: the highest layer's output at each prompt's end, (utterances, hidden).
        """
        modules = [self._decoder.layers[layer] for layer in layers]
        generated: list[list[int]] = [[] for _ in self.prompts.lengths]
        rows = list(range(len(generated)))
        for step in range(self.prompts.new_tokens):
            tokens = self._head(self._decoder.norm(last)).argmax(dim=-1)
            unfinished = [place for place, token in enumerate(tokens.tolist()) if token not in self._end_tokens]
            rows, tokens = [rows[place] for place in unfinished], tokens[unfinished]
            for row, token in zip(rows, tokens.tolist(), strict=True):
                generated[row].append(token)
            if not rows or step + 1 == self.prompts.new_tokens:
                break
            last = self._step(modules, caches, self._embed(tokens), rows, step)
        return generated

    def _step(
        self, modules: Sequence[Any], caches: Sequence[Tensor], hidden: Tensor, rows: Sequence[int], step: int
    ) -> Tensor:
        """Return the highest layer's output for one more token of some utterances, (rows, hidden) like ``hidden``.

        Args:
            step: the number of new tokens of each utterance before this one.
        """
        device, lengths = hidden.device, torch.tensor(self.prompts.lengths, device=hidden.device)
        row = torch.tensor(rows, device=device)
        positions = lengths[row] + step
        rotation = self._family.rotation(self._decoder, hidden, positions)
        known = lengths[:, None] + step + 1
        later = torch.arange(self.prompts.cache_length, device=device) >= known
        mask = torch.zeros_like(later, dtype=hidden.dtype).masked_fill_(later, -torch.inf)[:, None, None]
        # A group may include finished utterances. Their queries are zeros, and their results are not used.
        groups = [(first, until, int(known[first:until].max())) for first, until in group_rows(rows)]
        members = torch.cat([torch.arange(first, until, device=device) for first, until, _ in groups])
        at = torch.searchsorted(members, row)
        sizes = [until - first for first, until, _ in groups]
        for module, cache in zip(modules, caches, strict=True):
            query, key, value = self._family.attention_inputs(module, hidden, rotation)
            cache.flatten(2, 3).index_copy_(
                2, row * self.prompts.cache_length + positions, torch.stack([key, value]).transpose(1, 2)
            )
            queries = query.new_zeros(len(members), *query.shape[1:]).index_copy_(0, at, query)[:, :, None]
            found = [
                self._attend(some, cache[:, :, first:until, :longest].transpose(1, 2), mask[first:until, ..., :longest])
                for some, (first, until, longest) in zip(queries.split(sizes), groups, strict=True)
            ]
            hidden = self._family.layer_output(module, hidden, torch.cat(found)[at, :, 0])
        return hidden

    def _attend(self, query: Tensor, known: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention of (utterances, heads, queries, width), in that shape.

        Args:
            known: keys and values, (2, utterances, heads, positions, width). One of their heads may serve several.
            mask: added to scores, broadcast to (utterances, 1, queries, positions).
        """
        keys, values = known
        found: Tensor = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, scale=self._scale, enable_gqa=query.shape[1] > self._heads
        )
        return found

    def _causal_mask(self, first: int, until: int) -> Tensor | None:
        """Return the mask for a prompt's tokens from ``first`` on, (tokens, until); None for a single token."""
        if until - first == 1:
            return None
        if (first, until) not in self._masks:
            whole = self.prompts.embeddings.new_full((until - first, until), -torch.inf)
            self._masks[first, until] = whole.triu(first + 1)
        return self._masks[first, until]


def group_rows(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Return ranges of at most :data:`GROUP_SIZE` numbers that cover all rows."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if not found or row >= found[-1][0] + GROUP_SIZE:
            found.append((row, row))
        found[-1] = (found[-1][0], row + 1)
    return found

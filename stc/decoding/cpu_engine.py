"""Decoding on a CPU: prompts without padding, and what all of them begin with computed once.

What counts on a CPU is arithmetic and memory that is read, and less the number of operations. Matrix products are over
the tokens of all utterances that still speak; attention reads keys and values where they lie, a few utterances of
similar length at a time, so that nothing is moved when some have ended.

:mod:`stc.decoding.gpu_engine` is what a GPU does.
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
    from stc.models.checkpoint import Translator

TOGETHER = 8
"""Utterances whose next tokens share a call of attention. More share its cost, and read more for those that have ended
and for the longest of them."""


@dataclass(frozen=True)
class SharedPrefixPrompts:
    """The prompts of some utterances.

    Attributes:
        embeddings: what all prompts begin with, then the rest of each, of one token at least: (tokens, hidden).
        shared: the tokens that all begin with.
        lengths: of the whole prompts.
        new_tokens: the most that follow each.
    """

    embeddings: Tensor
    shared: int
    lengths: list[int]
    new_tokens: int

    @classmethod
    def of(cls, rows: Sequence[Tensor], new_tokens: int) -> SharedPrefixPrompts:
        """Of prompts, (positions, hidden) each."""
        shared = _shared(rows)
        embeddings = torch.cat([rows[0][:shared], *(row[shared:] for row in rows)])
        return cls(embeddings, shared, list(map(len, rows)), new_tokens)

    @property
    def room(self) -> int:
        """For each in memory."""
        return max(self.lengths) + self.new_tokens

    @cached_property
    def spans(self) -> list[tuple[int, int, int]]:
        """What the embeddings are: of which utterance, from which position, to before which."""
        rest = [(row, self.shared, length) for row, length in enumerate(self.lengths)]
        return [(0, 0, self.shared), *rest] if self.shared else rest

    @cached_property
    def positions(self) -> Tensor:
        """Of each of the embeddings in its prompt: (tokens,), int64."""
        spans = [torch.arange(first, until) for _, first, until in self.spans]
        return torch.cat(spans).to(self.embeddings.device)

    @cached_property
    def ends(self) -> Tensor:
        """The last of each prompt among the embeddings: (utterances,), int64."""
        counts = torch.tensor(self.lengths, device=self.embeddings.device) - self.shared
        return counts.cumsum(0) + self.shared - 1

    @cached_property
    def tokens(self) -> Tensor:
        """For each place in memory, of those with a prompt, which of the embeddings it is: as ``places``."""
        every = torch.arange(len(self.embeddings))
        rest = every[self.shared :].split([length - self.shared for length in self.lengths])
        return torch.cat([part for own in rest for part in (every[: self.shared], own)]).to(self.embeddings.device)

    @cached_property
    def places(self) -> Tensor:
        """Those in memory with a prompt: (tokens of the whole prompts,), int64."""
        rows = [torch.arange(length) + row * self.room for row, length in enumerate(self.lengths)]
        return torch.cat(rows).to(self.embeddings.device)


def _shared(rows: Sequence[Tensor]) -> int:
    """How many tokens all prompts begin with, the last of the shortest not counted."""
    most = min(map(len, rows)) - 1
    same = torch.stack([(row[:most] == rows[0][:most]).all(dim=1) for row in rows]).all(dim=0)
    return int(same.long().cumprod(dim=0).sum())


def generate_tokens(translator: Translator, rows: Sequence[Tensor], new_tokens: int) -> list[list[int]]:
    """The tokens that follow each prompt, (positions, hidden) each, all in one batch."""
    decoder = CPUDecoder(translator, SharedPrefixPrompts.of(rows, new_tokens))
    layers = range(len(translator.architecture.layers_of(translator.model, "decoder")))
    hidden, memories = decoder.prompts.embeddings, [decoder.memory() for _ in layers]
    for layer, memory in zip(layers, memories, strict=True):
        hidden = decoder.run_layer(layer, hidden, memory, last=layer == layers[-1])
    return decoder.generate(layers, memories, hidden)


class CPUDecoder:
    """The layers of a translator's decoder, one at a time, on some prompts and on what follows them.

    A layer's memory holds its keys and values: (2, heads, utterances, room, width).
    """

    def __init__(self, translator: Translator, prompts: SharedPrefixPrompts) -> None:
        model, self._family = translator.model, translator.fast_path
        self._decoder = self._family.stack(model, "decoder")
        self._head, self._embed = model.get_output_embeddings(), model.get_input_embeddings()
        self._stop = end_tokens(translator)
        self._heads, self._width, self._scale = self._family.attention_shape(self._decoder)
        self.prompts = prompts
        self._rotation = self._family.rotation(self._decoder, prompts.embeddings, prompts.positions)
        self._masks: dict[tuple[int, int], Tensor] = {}

    def memory(self) -> Tensor:
        """Room for one layer's. What a mask hides is multiplied with 0, and has to be a number."""
        prompts = self.prompts
        return prompts.embeddings.new_zeros(2, self._heads, len(prompts.lengths), prompts.room, self._width)

    def run_layer(self, layer: int, hidden: Tensor, memory: Tensor, *, last: bool = False) -> Tensor:
        """A layer's output for the prompts, (tokens, hidden).

        Args:
            layer: numbered as in the model.
            hidden: its input, (tokens, hidden).
            memory: where its keys and values are written to.
            last: only the output at each prompt's end is computed, (utterances, hidden).
        """
        prompts, module, spans = self.prompts, self._decoder.layers[layer], self.prompts.spans
        query, key, value = self._family.attention_inputs(module, hidden, self._rotation)
        for kind, each in enumerate((key, value)):
            memory[kind].flatten(1, 2).index_copy_(1, prompts.places, each[prompts.tokens].transpose(0, 1))
        if last:
            hidden, query = hidden[prompts.ends], query[prompts.ends]
            spans = [(row, length - 1, length) for row, length in enumerate(prompts.lengths)]
        found = []
        for asked, (row, first, until) in zip(query.split([b - a for _, a, b in spans]), spans, strict=True):
            known = memory[:, None, :, row, :until]
            found.append(self._attended(asked.transpose(0, 1)[None], known, self._mask(first, until)))
        attended = torch.cat(found, dim=2)[0].transpose(0, 1)
        output: Tensor = self._family.layer_output(module, hidden, attended)
        return output

    def generate(self, layers: Sequence[int], memories: Sequence[Tensor], last: Tensor) -> list[list[int]]:
        """The tokens that follow each prompt, up to and without the one that ends its turn.

        Args:
            layers: all that the decoder is to have, from the lowest up.
            memories: of each, as the prompts left it; the new tokens' keys and values are written behind theirs.
            last: the highest layer's output at each prompt's end, (utterances, hidden).
        """
        lengths, modules = self.prompts.lengths, [self._decoder.layers[layer] for layer in layers]
        said: list[list[int]] = [[] for _ in lengths]
        rows = list(range(len(lengths)))
        for new in range(self.prompts.new_tokens):
            tokens = self._head(self._decoder.norm(last)).argmax(dim=-1)
            going = [place for place, token in enumerate(tokens.tolist()) if token not in self._stop]
            rows, tokens = [rows[place] for place in going], tokens[going]
            for row, token in zip(rows, tokens.tolist(), strict=True):
                said[row].append(token)
            if not rows or new + 1 == self.prompts.new_tokens:
                break
            last = self._step(modules, memories, self._embed(tokens), rows, new)
        return said

    def _step(
        self, modules: Sequence[Any], memories: Sequence[Tensor], hidden: Tensor, rows: Sequence[int], new: int
    ) -> Tensor:
        """The highest layer's output for one more token of some utterances, (rows, hidden) like ``hidden``.

        Args:
            new: tokens of each that are known already, besides its prompt.
        """
        device, lengths = hidden.device, torch.tensor(self.prompts.lengths, device=hidden.device)
        row = torch.tensor(rows, device=device)
        positions = lengths[row] + new
        rotation = self._family.rotation(self._decoder, hidden, positions)
        known = lengths[:, None] + new + 1
        later = torch.arange(self.prompts.room, device=device) >= known
        mask = torch.zeros_like(later, dtype=hidden.dtype).masked_fill_(later, -torch.inf)[:, None, None]
        # Of a group some may have ended; they are asked for nothing, and what is found is not used.
        groups = [(first, until, int(known[first:until].max())) for first, until in _groups(rows)]
        members = torch.cat([torch.arange(first, until, device=device) for first, until, _ in groups])
        at = torch.searchsorted(members, row)
        sizes = [until - first for first, until, _ in groups]
        for module, memory in zip(modules, memories, strict=True):
            query, key, value = self._family.attention_inputs(module, hidden, rotation)
            memory.flatten(2, 3).index_copy_(
                2, row * self.prompts.room + positions, torch.stack([key, value]).transpose(1, 2)
            )
            asked = query.new_zeros(len(members), *query.shape[1:]).index_copy_(0, at, query)[:, :, None]
            found = [
                self._attended(
                    some, memory[:, :, first:until, :longest].transpose(1, 2), mask[first:until, ..., :longest]
                )
                for some, (first, until, longest) in zip(asked.split(sizes), groups, strict=True)
            ]
            hidden = self._family.layer_output(module, hidden, torch.cat(found)[at, :, 0])
        return hidden

    def _attended(self, query: Tensor, known: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of (utterances, heads, queries, width), shaped like it.

        Args:
            known: keys and values, (2, utterances, heads, positions, width); a head of these may serve several.
            mask: added to scores, broadcast to (utterances, 1, queries, positions).
        """
        keys, values = known
        found: Tensor = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, scale=self._scale, enable_gqa=query.shape[1] > self._heads
        )
        return found

    def _mask(self, first: int, until: int) -> Tensor | None:
        """For the tokens of a prompt from one position on, (tokens, until): none sees a later one."""
        if until - first == 1:
            return None
        if (first, until) not in self._masks:
            whole = self.prompts.embeddings.new_full((until - first, until), -torch.inf)
            self._masks[first, until] = whole.triu(first + 1)
        return self._masks[first, until]


def _groups(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of at most :data:`TOGETHER` numbers, in which all rows are."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if not found or row >= found[-1][0] + TOGETHER:
            found.append((row, row))
        found[-1] = (found[-1][0], row + 1)
    return found

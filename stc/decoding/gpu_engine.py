"""Decoding on a GPU: prompts without padding, and the step of one token as a CUDA graph.

Everything that a step reads (which rows are unfinished, where their prompts' keys and values are, which layers they
skip) is data at fixed places in memory. So one graph serves every batch, every candidate of a round of the greedy
search, and several candidates at a time. Rows that have ended read no keys and values.

A step mostly reads memory: weights once for all rows, keys and values for each row. Hence several candidates share a
step (:mod:`stc.pruning.search.translations`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stc.decoding.attention import KeyValueCache, attend_to_cache, attend_within_prompts
from stc.decoding.tokens import end_tokens, without_padding
from stc.quantization import has_packed_layers

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

CHECK_EVERY = 8  # steps between two checks whether all rows have ended: a check waits for the GPU


@dataclass(frozen=True)
class PackedPrompts:
    """The prompts of some utterances, one after the other.

    Attributes:
        embeddings: (tokens, hidden).
        starts: where each prompt begins, and the end of the last: (utterances + 1,), int64.
        positions: the position of each token in its prompt: (tokens,), int64.
        longest: the tokens of the longest prompt.
    """

    embeddings: Tensor
    starts: Tensor
    positions: Tensor
    longest: int

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> PackedPrompts:
        device = rows[0].device
        lengths = [len(row) for row in rows]
        starts = torch.tensor([0, *lengths], device=device).cumsum(0)
        positions = torch.cat([torch.arange(length, device=device) for length in lengths])
        return cls(torch.cat(list(rows)), starts, positions, max(lengths))

    def __len__(self) -> int:
        return len(self.starts) - 1


class GPUDecoder:
    """Some layers of a translator's decoder, with memory for the keys and values of a batch.

    Args:
        layers: the layers to use, numbered as in the model. Everywhere else they are numbered by their place in it.
        tokens: the most tokens of a batch's prompts together.
        rows: the most rows that are decoded together.
        slots: how many times there is room for one layer's keys and values of all prompts; at least once a layer.
    """

    def __init__(
        self,
        translator: Translator,
        layers: Sequence[int],
        *,
        tokens: int,
        rows: int,
        max_new_tokens: int,
        slots: int,
    ) -> None:
        model, family = translator.model, translator.fast_path
        self._decoder = family.stack(model, "decoder")
        self._layers = [self._decoder.layers[layer] for layer in layers]
        self._rotation = family.rotation
        compiles = not has_packed_layers(model, [self._decoder]) and _can_compile(self._decoder)
        self._inputs: Any = _compiled(family.attention_inputs) if compiles else family.attention_inputs
        self._output: Any = _compiled(family.layer_output) if compiles else family.layer_output
        self._uses_graphs = compiles
        self._head, self._embed = model.get_output_embeddings(), model.get_input_embeddings()
        self._end_tokens = torch.tensor(sorted(end_tokens(translator)), device=model.device)
        heads, width, self._scale = family.attention_shape(self._decoder)
        self._prompts = self._empty(slots, 2, heads, tokens, width)
        self._generated = self._empty(len(layers), 2, rows, heads, max_new_tokens, width)
        self._steps: dict[int, _Steps] = {}
        self._graph_memory = torch.cuda.graph_pool_handle() if compiles else None

    @property
    def layers(self) -> int:
        return len(self._layers)

    def rotation(self, prompts: PackedPrompts) -> tuple[Tensor, Tensor]:
        """Return the rotary embedding of all prompt tokens, for :meth:`run_layer`."""
        return self._rotation(self._decoder, prompts.embeddings, prompts.positions)

    def run_layer(
        self, place: int, hidden: Tensor, prompts: PackedPrompts, rotation: tuple[Tensor, Tensor], slot: int
    ) -> Tensor:
        """Return a layer's output for whole prompts, (tokens, hidden), and write its keys and values to a slot.

        Args:
            place: of the layer. The last layer's output is computed at each prompt's end only: (utterances, hidden).
            hidden: its input, (tokens, hidden).
        """
        query, key, value = self._inputs(self._layers[place], hidden, rotation)
        for kind, each in enumerate((key, value)):
            self._prompts[slot, kind, :, : len(each)] = each.transpose(0, 1)
        attended = attend_within_prompts(query, key, value, prompts.starts, prompts.longest, self._scale)
        if place == len(self._layers) - 1:
            ends = prompts.starts[1:] - 1
            hidden, attended = hidden[ends], attended[ends]
        return self._output(self._layers[place], hidden, attended)

    def generate(self, last: Tensor, starts: Tensor, lengths: Tensor, slots: Tensor, skipped: Tensor) -> Tensor:
        """Return the tokens that follow each row's prompt, (rows, new tokens), with -1 from the end of the turn on.

        Args:
            last: the last layer's output at the end of each row's prompt, (rows, hidden).
            starts: where each row's prompt begins in its slots, (rows,).
            lengths: the tokens of each row's prompt, (rows,).
            slots: the slot of each layer for each row, (layers, rows).
            skipped: whether each row skips each layer, (layers, rows).
        """
        rows = len(last)
        if rows not in self._steps:
            cache = KeyValueCache(
                self._prompts,
                self._generated,
                torch.zeros_like(slots),
                torch.zeros_like(starts),
                torch.zeros_like(lengths),
                torch.zeros(1, dtype=torch.int64, device=last.device),
            )
            self._steps[rows] = _Steps(self, cache)
        return self._steps[rows].run(last, starts, lengths, slots, skipped)

    def next_token(self, hidden: Tensor) -> Tensor:
        """Return the most probable token after each row, (rows,), from the last layer's output, (rows, hidden)."""
        token: Tensor = self._head(self._decoder.norm(hidden)).argmax(dim=-1)
        return token

    def step(self, token: Tensor, positions: Tensor, cache: KeyValueCache, skipped: Tensor) -> Tensor:
        """Return the last layer's output for one more token of each row, (rows, hidden)."""
        hidden = self._embed(token)
        rotation = self._rotation(self._decoder, hidden, positions)
        for place, layer in enumerate(self._layers):
            query, key, value = self._inputs(layer, hidden, rotation)
            attended = attend_to_cache(query, key, value, cache, place, self._scale)
            hidden = torch.where(skipped[place][:, None], hidden, self._output(layer, hidden, attended))
        return hidden

    def is_end(self, token: Tensor) -> Tensor:
        return torch.isin(token, self._end_tokens)

    def captured(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        """Return ``step`` as a CUDA graph; None if the model's modules do not allow it."""
        if not self._uses_graphs:
            return None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()  # compiles and plans, which a graph cannot record
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._graph_memory):
            step()
        return graph

    def _empty(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=self._embed.weight.dtype, device=self._embed.weight.device)


class _Steps:
    """The decoding steps for a number of rows, whose data is at fixed places in memory."""

    def __init__(self, decoder: GPUDecoder, cache: KeyValueCache) -> None:
        self._decoder = weakref.proxy(decoder)  # a cycle would keep the memory after the decoder is gone
        self._cache = cache
        self._token = torch.zeros_like(cache.starts)
        self._positions = torch.zeros_like(cache.starts)
        self._skipped = torch.zeros_like(cache.slots, dtype=torch.bool)
        room = cache.generated.shape[-2]
        self._tokens = torch.full((len(cache.starts), room), -1, device=cache.starts.device)
        self._graph = decoder.captured(self._step) if room > 1 else None  # the first token takes no step

    def _step(self) -> None:
        hidden = self._decoder.step(self._token, self._positions, self._cache, self._skipped)
        self._cache.step.add_(1)
        self._positions.add_(1)
        self._add(self._decoder.next_token(hidden))

    def _add(self, token: Tensor) -> None:
        """Store each row's next token. A row whose turn has ended reads no prompt from then on."""
        unfinished = (self._cache.lengths > 0) & ~self._decoder.is_end(token)
        self._cache.lengths.mul_(unfinished)
        self._token.copy_(token)
        self._tokens.index_copy_(1, self._cache.step, torch.where(unfinished, token, -1)[:, None])

    def run(self, last: Tensor, starts: Tensor, lengths: Tensor, slots: Tensor, skipped: Tensor) -> Tensor:
        self._cache.step.zero_()
        self._tokens.fill_(-1)
        for stored, given in (
            (self._cache.starts, starts),
            (self._cache.lengths, lengths),
            (self._cache.slots, slots),
            (self._positions, lengths),  # of the first new token
            (self._skipped, skipped),
        ):
            stored.copy_(given)
        self._add(self._decoder.next_token(last))
        for step in range(1, self._tokens.shape[1]):
            if step % CHECK_EVERY == 0 and not self._cache.lengths.any():
                break
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
        return self._tokens.clone()


def generate_tokens(translator: Translator, rows: Sequence[Tensor], max_new_tokens: int) -> list[list[int]]:
    """Return the tokens that follow each prompt, (positions, hidden) each, decoded in one batch."""
    prompts = PackedPrompts.of(rows)
    layers = range(len(translator.architecture.layers_of(translator.model, "decoder")))
    decoder = GPUDecoder(
        translator,
        layers,
        tokens=len(prompts.embeddings),
        rows=len(rows),
        max_new_tokens=max_new_tokens,
        slots=len(layers),
    )
    hidden, rotation = prompts.embeddings, decoder.rotation(prompts)
    for layer in layers:
        hidden = decoder.run_layer(layer, hidden, prompts, rotation, slot=layer)
    own = torch.arange(len(layers), device=hidden.device)[:, None].expand(-1, len(rows))
    tokens = decoder.generate(
        hidden, prompts.starts[:-1], prompts.starts.diff(), own, torch.zeros_like(own, dtype=torch.bool)
    )
    return without_padding(tokens)


def is_supported(translator: Translator) -> bool:
    """Return whether the model is on a GPU, with heads whose width is a power of two, as the kernel needs."""
    family, model = translator.fast_path, translator.model
    width = family.attention_shape(family.stack(model, "decoder"))[1]
    return model.device.type == "cuda" and width & (width - 1) == 0


def _can_compile(decoder: nn.Module) -> bool:
    """Return whether a decoder is on a GPU and made of plain modules. Adapters and packed layers have own kernels, some
    of which wait for the GPU, which a graph cannot record."""
    own = {type(module).__module__.split(".")[0] for module in decoder.modules()}
    return own <= {"torch", "transformers"} and next(decoder.parameters()).is_cuda


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for any number of tokens: once a process, since a layer is its argument."""
    return torch.compile(function, dynamic=True)

"""Decoding on a GPU: prompts without padding, and the step of one token as a CUDA graph.

Everything a step reads (which row speaks, where its prompt's keys and values lie, which layers it does without) is
data in fixed places of memory, so that one graph serves every batch, every candidate of a round of the greedy search,
and several candidates at a time. Rows that have ended read no keys or values any more.

What a step costs is mostly reading: weights once for all rows, keys and values for each. Hence several candidates
share a step (:mod:`stc.pruning.search.translations`).
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
    from stc.models.checkpoint import Translator

LOOK_EVERY = 8  # steps between two looks at whether any row still speaks: a look waits for the GPU


@dataclass(frozen=True)
class PackedPrompts:
    """The prompts of some utterances, one after the other.

    Attributes:
        embeddings: (tokens, hidden).
        starts: where each begins, and the end of the last: (utterances + 1,), int64.
        positions: of each token in its prompt: (tokens,), int64.
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
        layers: those that are used, numbered as in the model; elsewhere they are known by their place among these.
        tokens: the most that a batch's prompts have together.
        rows: the most that are decoded together.
        slots: how many times one layer's keys and values for all prompts fit; at least the number of layers.
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
        fused = not has_packed_layers(model, [self._decoder]) and _fusable(self._decoder)
        self._inputs: Any = _fused(family.attention_inputs) if fused else family.attention_inputs
        self._output: Any = _fused(family.layer_output) if fused else family.layer_output
        self._graphs = fused
        self._head, self._embed = model.get_output_embeddings(), model.get_input_embeddings()
        self._ends = torch.tensor(sorted(end_tokens(translator)), device=model.device)
        heads, width, self._scale = family.attention_shape(self._decoder)
        self._prompts = self._empty(slots, 2, heads, tokens, width)
        self._said = self._empty(len(layers), 2, rows, heads, max_new_tokens, width)
        self._steps: dict[int, _Steps] = {}
        self._graph_memory = torch.cuda.graph_pool_handle() if fused else None

    @property
    def layers(self) -> int:
        return len(self._layers)

    def rotation(self, prompts: PackedPrompts) -> tuple[Tensor, Tensor]:
        """What :meth:`run_layer` wants."""
        return self._rotation(self._decoder, prompts.embeddings, prompts.positions)

    def run_layer(
        self, place: int, hidden: Tensor, prompts: PackedPrompts, rotation: tuple[Tensor, Tensor], slot: int
    ) -> Tensor:
        """A layer's output for whole prompts, (tokens, hidden); its keys and values are written to a slot.

        Args:
            place: of the layer. Of the last, only the output at each prompt's end is computed: (utterances, hidden).
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
        """The tokens that follow each row's prompt; -1 from the one on that ends its turn: (rows, new tokens).

        Args:
            last: the last layer's output at the end of each row's prompt, (rows, hidden).
            starts: where each row's prompt begins in its slots, (rows,); ``lengths`` its tokens.
            slots: which slot each layer has for each row, (layers, rows).
            skipped: which layer each row does without, (layers, rows).
        """
        rows = len(last)
        if rows not in self._steps:
            memory = KeyValueCache(
                self._prompts,
                self._said,
                torch.zeros_like(slots),
                torch.zeros_like(starts),
                torch.zeros_like(lengths),
                torch.zeros(1, dtype=torch.int64, device=last.device),
            )
            self._steps[rows] = _Steps(self, memory)
        return self._steps[rows].run(last, starts, lengths, slots, skipped)

    def next_token(self, hidden: Tensor) -> Tensor:
        """The most probable one after each row, (rows,), from the last layer's output, (rows, hidden)."""
        token: Tensor = self._head(self._decoder.norm(hidden)).argmax(dim=-1)
        return token

    def step(self, token: Tensor, positions: Tensor, memory: KeyValueCache, skipped: Tensor) -> Tensor:
        """The last layer's output for one more token of each row, (rows, hidden)."""
        hidden = self._embed(token)
        rotation = self._rotation(self._decoder, hidden, positions)
        for place, layer in enumerate(self._layers):
            query, key, value = self._inputs(layer, hidden, rotation)
            attended = attend_to_cache(query, key, value, memory, place, self._scale)
            hidden = torch.where(skipped[place][:, None], hidden, self._output(layer, hidden, attended))
        return hidden

    def is_end(self, token: Tensor) -> Tensor:
        return torch.isin(token, self._ends)

    def captured(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        """``step`` as a graph, if the model's parts allow it."""
        if not self._graphs:
            return None
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            step()  # compiles, and plans what a graph must not
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._graph_memory):
            step()
        return graph

    def _empty(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=self._embed.weight.dtype, device=self._embed.weight.device)


class _Steps:
    """The steps of a number of rows, with what they read and write in fixed places."""

    def __init__(self, decoder: GPUDecoder, memory: KeyValueCache) -> None:
        self._decoder = weakref.proxy(decoder)  # which has it: memory is to be free as soon as that is gone
        self._memory = memory
        self._token = torch.zeros_like(memory.starts)
        self._positions = torch.zeros_like(memory.starts)
        self._skipped = torch.zeros_like(memory.slots, dtype=torch.bool)
        room = memory.said.shape[-2]
        self._tokens = torch.full((len(memory.starts), room), -1, device=memory.starts.device)
        self._graph = decoder.captured(self._step) if room > 1 else None  # the first token takes no step

    def _step(self) -> None:
        hidden = self._decoder.step(self._token, self._positions, self._memory, self._skipped)
        self._memory.step.add_(1)
        self._positions.add_(1)
        self._say(self._decoder.next_token(hidden))

    def _say(self, token: Tensor) -> None:
        """Note each row's next token; one that ends its turn silences the row, which from then on has no prompt."""
        speaking = (self._memory.lengths > 0) & ~self._decoder.is_end(token)
        self._memory.lengths.mul_(speaking)
        self._token.copy_(token)
        self._tokens.index_copy_(1, self._memory.step, torch.where(speaking, token, -1)[:, None])

    def run(self, last: Tensor, starts: Tensor, lengths: Tensor, slots: Tensor, skipped: Tensor) -> Tensor:
        self._memory.step.zero_()
        self._tokens.fill_(-1)
        for kept, given in (
            (self._memory.starts, starts),
            (self._memory.lengths, lengths),
            (self._memory.slots, slots),
            (self._positions, lengths),  # of the first token that is decoded
            (self._skipped, skipped),
        ):
            kept.copy_(given)
        self._say(self._decoder.next_token(last))
        for step in range(1, self._tokens.shape[1]):
            if step % LOOK_EVERY == 0 and not self._memory.lengths.any():
                break
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
        return self._tokens.clone()


def generate_tokens(translator: Translator, rows: Sequence[Tensor], max_new_tokens: int) -> list[list[int]]:
    """The tokens that follow each prompt, (positions, hidden) each, all in one batch."""
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
    """Whether this is how to decode: on a GPU, with heads whose width is a power of two, which the kernel reads by."""
    family, model = translator.fast_path, translator.model
    width = family.attention_shape(family.stack(model, "decoder"))[1]
    return model.device.type == "cuda" and width & (width - 1) == 0


def _fusable(decoder: nn.Module) -> bool:
    """Whether a decoder is on a GPU and made of plain modules. Adapters, as packed layers, bring kernels of their own,
    some of which wait for the GPU, which a graph cannot record."""
    own = {type(module).__module__.split(".")[0] for module in decoder.modules()}
    return own <= {"torch", "transformers"} and next(decoder.parameters()).is_cuda


@cache
def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled for any number of tokens; once a process and not once a layer, whose weights are arguments to it."""
    return torch.compile(function, dynamic=True)

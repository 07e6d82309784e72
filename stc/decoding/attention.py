"""Attention for utterances that lie one after the other in memory, without padding between them.

A batch of speech is ragged: with every utterance padded to the longest, a third of the keys and values that a step
reads would be padding. Here a prompt's keys and values are read over its own length only, by a kernel for the one
query that decoding has at a time (as flash decoding does, but over prompts of which several rows may share one).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 16
"""Positions read at a time by a program of one warp. Of the blocks of 16 to 128 and the 1 to 8 warps tried on an H200,
it reads fastest: 3.9 TB/s, and 2.8 with 64 and 4."""


@dataclass(frozen=True)
class KeyValueCache:
    """The keys and values a step attends to.

    Attributes:
        prompts: of prompts, (slots, 2, heads, prompt tokens, width): keys, then values. A slot is what one layer makes
            of all prompts.
        said: of the tokens decoded so far, (layers, 2, rows, heads, new tokens, width).
        slots: which slot each layer has for each row: (layers, rows), int64.
        starts: where each row's prompt begins in a slot: (rows,), int64.
        lengths: of each row's prompt in tokens, 0 for a row that has ended and reads nothing: (rows,), int64.
        step: how many decoded tokens lie in ``said`` before this one: (1,), int64.
    """

    prompts: Tensor
    said: Tensor
    slots: Tensor
    starts: Tensor
    lengths: Tensor
    step: Tensor


def attend_within_prompts(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float
) -> Tensor:
    """Causal attention within each prompt.

    Args:
        query: (prompt tokens, heads, width); ``key`` and ``value`` may have fewer heads, each for a group of its.
        starts: where prompts begin, and the end of the last: (prompts + 1,), int64.
        longest: the tokens of the longest prompt.

    Returns:
        (prompt tokens, heads, width).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    settings: dict[str, Any] = {"is_causal": True, "scale": scale}
    if query.is_cuda:
        jagged = [
            torch.nested.nested_tensor_from_jagged(each, starts, min_seqlen=1, max_seqlen=longest).transpose(1, 2)
            for each in (query, key, value)
        ]
        together = functional.scaled_dot_product_attention(jagged[0], jagged[1], jagged[2], **settings)
        return together.transpose(1, 2).values()
    lengths = starts.diff().tolist()
    prompts = zip(*(each.transpose(0, 1).split(lengths, dim=1) for each in (query, key, value)), strict=True)
    found = [functional.scaled_dot_product_attention(*prompt, **settings) for prompt in prompts]
    return torch.cat(found, dim=1).transpose(0, 1)


def attend_to_cache(
    query: Tensor, key: Tensor, value: Tensor, memory: KeyValueCache, layer: int, scale: float
) -> Tensor:
    """Attention of one token a row to its prompt, to what the row has said, and to itself.

    Its key and value are added to ``memory.said``.

    Args:
        query: (rows, heads, width); ``key`` and ``value`` may have fewer heads, each for a group of its.
        layer: of ``memory``.

    Returns:
        (rows, heads, width).
    """
    if query.is_cuda:
        return _on_gpu(query, key, value, memory, layer, scale)
    step = int(memory.step)
    memory.said[layer, 0, : len(query), :, step] = key
    memory.said[layer, 1, : len(query), :, step] = value
    rows = []
    for row, one in enumerate(query):
        start, length = int(memory.starts[row]), int(memory.lengths[row])
        prompt = memory.prompts[memory.slots[layer, row], :, :, start : start + length]
        first = 0 if length else step
        known = torch.cat([prompt, memory.said[layer, :, row, :, first : step + 1]], dim=2)
        keys, values = known.repeat_interleave(len(one) // known.shape[1], dim=1)
        rows.append(functional.scaled_dot_product_attention(one[:, None], keys, values, scale=scale)[:, 0])
    return torch.stack(rows)


def _on_gpu(query: Tensor, key: Tensor, value: Tensor, memory: KeyValueCache, layer: int, scale: float) -> Tensor:
    rows, heads, width = query.shape
    found = torch.empty_like(query, memory_format=torch.contiguous_format)
    prompts, said = memory.prompts, memory.said[layer]
    _kernel()[(rows, heads)](
        query.contiguous(), key.contiguous(), value.contiguous(), found,
        prompts, said, memory.slots[layer], memory.starts, memory.lengths, memory.step,
        scale, prompts.stride(0), prompts.stride(1), prompts.stride(2), said.stride(0), said.stride(1), said.stride(2),
        heads, key.shape[1],
        WIDTH=width, BLOCK=BLOCK, num_warps=1,
    )  # fmt: skip
    return found


@cache
def _kernel() -> Any:
    """One program for each head of each row. Compiled at its first use, by a compiler that CPU builds of torch lack."""
    from stc.decoding.gpu_kernels import attend_one

    return attend_one

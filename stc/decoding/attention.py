"""Attention for utterances that lie one after the other in memory, without padding between them.

With every utterance padded to the longest, a third of the keys and values that a decoding step reads would be padding.
Here a kernel for one query at a time reads a prompt's keys and values over its own length only, as flash decoding does.
Several rows may share a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 16
"""Positions that a program of one warp reads at a time. It was the fastest of blocks of 16 to 128 and 1 to 8 warps on
an H200: 3.9 TB/s, and 2.8 with 64 and 4."""


@dataclass(frozen=True)
class KeyValueCache:
    """The keys and values that a decoding step attends to.

    Attributes:
        prompts: those of prompts, (slots, 2, heads, prompt tokens, width): keys, then values. A slot has all prompts in
            one layer.
        generated: those of the tokens decoded so far, (layers, 2, rows, heads, new tokens, width).
        slots: the slot of each layer for each row: (layers, rows), int64.
        starts: where each row's prompt begins in a slot: (rows,), int64.
        lengths: tokens of each row's prompt, 0 for a row that has ended and reads nothing: (rows,), int64.
        step: the number of decoded tokens in ``generated`` before this one: (1,), int64.
    """

    prompts: Tensor
    generated: Tensor
    slots: Tensor
    starts: Tensor
    lengths: Tensor
    step: Tensor


def attend_within_prompts(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float
) -> Tensor:
    """Return causal attention within each prompt, (prompt tokens, heads, width).

    Args:
        query: (prompt tokens, heads, width). ``key`` and ``value`` may have fewer heads, one for a group of heads.
        starts: where prompts begin, and the end of the last: (prompts + 1,), int64.
        longest: the tokens of the longest prompt.
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
    query: Tensor, key: Tensor, value: Tensor, cache: KeyValueCache, layer: int, scale: float
) -> Tensor:
    """Return attention of each row's token to its prompt, its decoded tokens and itself, (rows, heads, width).

    Its key and value are added to ``cache.generated``.

    Args:
        query: (rows, heads, width). ``key`` and ``value`` may have fewer heads, one for a group of heads.
        layer: its place in ``cache``.
    """
    if query.is_cuda:
        return _on_gpu(query, key, value, cache, layer, scale)
    step = int(cache.step)
    cache.generated[layer, 0, : len(query), :, step] = key
    cache.generated[layer, 1, : len(query), :, step] = value
    rows = []
    for row, one in enumerate(query):
        start, length = int(cache.starts[row]), int(cache.lengths[row])
        prompt = cache.prompts[cache.slots[layer, row], :, :, start : start + length]
        first = 0 if length else step
        known = torch.cat([prompt, cache.generated[layer, :, row, :, first : step + 1]], dim=2)
        keys, values = known.repeat_interleave(len(one) // known.shape[1], dim=1)
        rows.append(functional.scaled_dot_product_attention(one[:, None], keys, values, scale=scale)[:, 0])
    return torch.stack(rows)


def _on_gpu(query: Tensor, key: Tensor, value: Tensor, cache: KeyValueCache, layer: int, scale: float) -> Tensor:
    from stc.decoding.gpu_kernels import attend_one  # compiled by a compiler that CPU builds of torch lack

    rows, heads, width = query.shape
    found = torch.empty_like(query, memory_format=torch.contiguous_format)
    prompts, generated = cache.prompts, cache.generated[layer]
    attend_one[(rows, heads)](  # one program a row and head
        query.contiguous(), key.contiguous(), value.contiguous(), found,
        prompts, generated, cache.slots[layer], cache.starts, cache.lengths, cache.step,
        scale, prompts.stride(0), prompts.stride(1), prompts.stride(2),
        generated.stride(0), generated.stride(1), generated.stride(2),
        heads, key.shape[1],
        WIDTH=width, BLOCK=BLOCK, num_warps=1,
    )  # fmt: skip
    return found

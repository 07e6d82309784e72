"""Triton kernels. Importing this needs Triton, which comes with GPU builds of torch."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _fold(asked, at, kind_stride, inside, most, total, sums):
    """Add a block of positions. ``at`` are addresses of keys, (block, width); values are ``kind_stride`` further."""
    keys = tl.load(at, mask=inside[:, None], other=0.0).to(tl.float32)
    values = tl.load(at + kind_stride, mask=inside[:, None], other=0.0).to(tl.float32)
    scores = tl.where(inside, tl.sum(keys * asked[None, :], axis=1), float("-inf"))
    larger = tl.maximum(most, tl.max(scores, axis=0))
    shares = tl.exp(scores - larger)
    shrunk = tl.exp(most - larger)
    return larger, total * shrunk + tl.sum(shares, axis=0), sums * shrunk + tl.sum(shares[:, None] * values, axis=0)


@triton.jit
def attend_one(
    query, key, value, found,
    prompts, generated, slots, starts, lengths, steps,
    scale, slot_stride, kind_stride, head_stride, generated_kind_stride, generated_row_stride, generated_head_stride,
    heads, kv_heads,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Attend to a prompt, the decoded tokens and the token itself, with one softmax in one pass (Milakov and Gimelshein
    2018, arXiv 1805.02867), in float32. See :func:`stc.decoding.attention.attend_to_cache`."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    kv_head = head // (heads // kv_heads)
    step = tl.load(steps)
    slot = tl.load(slots + row)
    length = tl.load(lengths + row)
    across = tl.arange(0, WIDTH)
    block = tl.arange(0, BLOCK)

    asked = tl.load(query + (row * heads + head) * WIDTH + across).to(tl.float32) * scale
    own_key = tl.load(key + (row * kv_heads + kv_head) * WIDTH + across)
    own_value = tl.load(value + (row * kv_heads + kv_head) * WIDTH + across)
    own = generated + row * generated_row_stride + kv_head * generated_head_stride
    tl.store(own + step * WIDTH + across, own_key)
    tl.store(own + generated_kind_stride + step * WIDTH + across, own_value)

    most = tl.sum(asked * own_key.to(tl.float32))
    total = 1.0
    sums = own_value.to(tl.float32)

    keys = prompts + slot * slot_stride + kv_head * head_stride + tl.load(starts + row) * WIDTH
    for start in range(0, length, BLOCK):
        at = keys + (start + block)[:, None] * WIDTH + across[None, :]
        most, total, sums = _fold(asked, at, kind_stride, start + block < length, most, total, sums)
    decoded = tl.where(length > 0, step, 0)  # a row that has ended reads nothing
    for start in range(0, decoded, BLOCK):
        at = own + (start + block)[:, None] * WIDTH + across[None, :]
        most, total, sums = _fold(asked, at, generated_kind_stride, start + block < decoded, most, total, sums)

    tl.store(found + (row * heads + head) * WIDTH + across, (sums / total).to(found.dtype.element_ty))

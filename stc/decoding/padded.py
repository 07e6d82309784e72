"""Decoding in batches padded on the left, with transformers' own layers: what a CPU does.

:mod:`stc.decoding.packed` is what a GPU does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from stc.decoding.cache import roomy_cache
from stc.decoding.tokens import end_tokens, spoken

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

WORTH_MOVING = 0.75  # of a batch's utterances still running


@dataclass(frozen=True)
class Prompts:
    """The prompts of one batch, padded on the left.

    Attributes:
        embeddings: (utterances, longest, hidden).
        mask: 1 for what is not padding, with room for the tokens to come: (utterances, longest + new tokens).
        positions: of each, counting real tokens only, so that padding shifts nobody; shape as ``mask``.
    """

    embeddings: Tensor
    mask: Tensor
    positions: Tensor

    @property
    def longest(self) -> int:
        return self.embeddings.shape[1]


def continued(translator: Translator, rows: Sequence[Tensor], max_new_tokens: int) -> list[list[int]]:
    """The tokens that follow each prompt, (positions, hidden) each, all in one batch."""
    prompts = padded(rows, max_new_tokens)
    cache = roomy_cache(len(translator.architecture.decoder(translator.model).layers), max_new_tokens)
    hidden = run_layers(translator, prompts.embeddings, prompts, cache)
    return complete(translator, hidden, prompts, cache)


def padded(rows: Sequence[Tensor], max_new_tokens: int) -> Prompts:
    """Prompts, (positions, hidden) each, as one batch."""
    longest = max(map(len, rows))
    embeddings = rows[0].new_zeros(len(rows), longest, rows[0].shape[1])
    mask = torch.ones(len(rows), longest + max_new_tokens, dtype=torch.int64, device=embeddings.device)
    for number, row in enumerate(rows):
        embeddings[number, longest - len(row) :] = row
        mask[number, : longest - len(row)] = 0
    return Prompts(embeddings, mask, (mask.cumsum(dim=1) - 1).clamp(min=0))


def run_layers(translator: Translator, inputs: Tensor, prompts: Prompts, cache: Cache) -> Tensor:
    """The decoder's output for whole prompts, (utterances, longest, hidden), with the cache filled on the way.

    Args:
        inputs: what its first layer takes, (utterances, longest, hidden).
    """
    hidden: Tensor = translator.architecture.decoder(translator.model)(
        inputs_embeds=inputs,
        attention_mask=prompts.mask[:, : prompts.longest],
        position_ids=prompts.positions[:, : prompts.longest],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden


def complete(translator: Translator, hidden: Tensor, prompts: Prompts, cache: Cache) -> list[list[int]]:
    """Tokens that follow each prompt, up to and without the one that ends its turn.

    An utterance that has ended is computed along until enough have, to be worth moving the others together.

    Args:
        hidden: what the decoder gave for the prompts, (utterances, longest, hidden).
        cache: as it was left by that; used up here.
    """
    model = translator.model
    decoder = translator.architecture.decoder(model)
    head, embed = model.get_output_embeddings(), model.get_input_embeddings()
    ends = torch.tensor(sorted(end_tokens(translator)), device=model.device)
    mask, positions = prompts.mask, prompts.positions
    rows = torch.arange(len(mask), device=mask.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(mask), mask.shape[1] - prompts.longest), -1, device=mask.device)
    for step, place in enumerate(range(prompts.longest, mask.shape[1])):
        token = head(hidden[:, -1]).argmax(dim=-1)
        running = running & ~torch.isin(token, ends)
        tokens[rows, step] = torch.where(running, token, -1)
        left = int(running.sum())
        if left == 0 or step + 1 == tokens.shape[1]:
            break
        if left <= WORTH_MOVING * len(rows):
            cache.batch_select_indices(running.nonzero()[:, 0])
            rows, token, mask, positions = rows[running], token[running], mask[running], positions[running]
            running = running[running]
        hidden = decoder(
            inputs_embeds=embed(token)[:, None],
            attention_mask=mask[:, : place + 1],
            position_ids=positions[:, place : place + 1],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
    return spoken(tokens)

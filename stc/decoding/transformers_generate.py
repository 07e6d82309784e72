"""Continuing prompts by transformers' ``generate``: for beams and drawing, and for models that stc's own engines do not
compute (:func:`stc.models.fast_path.unsupported_by_engines`).

What ``generate`` isn't told it takes from the folder's generation_config, even beside a configuration it is given. So
the model's own is replaced meanwhile, and of the folder's only the tokens that end a turn are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessorList

from stc.decoding.tokens import end_tokens

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


@torch.inference_mode()
def generate_tokens(
    translator: Translator,
    rows: Sequence[Tensor],
    max_new_tokens: int,
    *,
    beams: int = 1,
    changed: LogitsProcessorList | None = None,
) -> list[list[int]]:
    """The tokens that follow each prompt, (positions, hidden) each, all in one batch.

    Args:
        changed: what is done to the logits before the largest is taken.
    """
    model, own = translator.model, translator.model.generation_config
    ends = sorted(end_tokens(translator))
    places = [torch.ones(len(row), dtype=torch.int64, device=row.device) for row in rows]
    embeddings, mask = (pad_sequence(list(each), batch_first=True, padding_side="left") for each in (rows, places))
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=beams,
        num_return_sequences=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )
    try:
        tokens = model.generate(
            inputs_embeds=embeddings, attention_mask=mask, logits_processor=changed or LogitsProcessorList()
        )
    finally:
        model.generation_config = own
    return [_until(row, ends) for row in tokens.tolist()]


def _until(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """The tokens before the first that ends the turn."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in ends), len(tokens))]

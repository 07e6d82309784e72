"""The tokens that end a turn, and the texts of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from stc.system.text_lines import one_line

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator


def end_tokens(translator: Translator) -> set[int]:
    """Return the tokenizer's end token, which training uses, and those in the model's generation config."""
    named = translator.model.generation_config.eos_token_id
    several = named if isinstance(named, list) else [named]
    return {token for token in (*several, translator.processor.tokenizer.eos_token_id) if token is not None}


def without_padding(tokens: Tensor) -> list[list[int]]:
    """Return the tokens of each row of (rows, new tokens), without the padding of -1."""
    return [[token for token in row if token >= 0] for row in tokens.tolist()]


def decode_texts(translator: Translator, tokens: list[list[int]]) -> list[str]:
    """Return tokens as texts, without special tokens, stripped, on one line each."""
    decoded = translator.processor.tokenizer.batch_decode(
        tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [one_line(text).strip() for text in decoded]

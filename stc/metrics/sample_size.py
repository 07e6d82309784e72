"""How many test sentences intervals and p-values need. Imports nothing, as tables ask it."""

from __future__ import annotations

FEWEST_SENTENCES = 30
"""With fewer there is no interval and no p-value: resampling says little of sentences that were not drawn."""
FEW_SENTENCES = 100
"""With fewer, intervals are too narrow more often than they say."""


def enough_sentences(sentences: int) -> bool:
    """Return whether a test of so many sentences has intervals and p-values."""
    return sentences >= FEWEST_SENTENCES


def sample_size_note(sentences: int) -> str:
    """Return what a reader has to know of intervals and p-values on so many sentences; empty where that is nothing."""
    if not enough_sentences(sentences):
        few = "1 test sentence is" if sentences == 1 else f"{sentences} test sentences are"
        return f"No intervals and no p-values: {few} too few, {FEWEST_SENTENCES} are needed."
    if sentences < FEW_SENTENCES:
        return (
            f"Warning: with {sentences} test sentences, fewer than {FEW_SENTENCES}, intervals and p-values are rough."
        )
    return ""

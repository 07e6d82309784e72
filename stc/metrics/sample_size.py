"""The number of test sentences that intervals and p-values need."""

from __future__ import annotations

FEWEST_SENTENCES = 30
"""With fewer there are no intervals and no p-values: resampling knows nothing of sentences that were not drawn."""
FEW_SENTENCES = 100
"""With fewer, intervals are too narrow more often than their confidence says."""


def enough_sentences(sentences: int) -> bool:
    """Return whether a test set of this size has intervals and p-values."""
    return sentences >= FEWEST_SENTENCES


def sample_size_note(sentences: int) -> str:
    """Return a warning about intervals and p-values on so few sentences; empty if they are enough."""
    if not enough_sentences(sentences):
        few = "1 test sentence is" if sentences == 1 else f"{sentences} test sentences are"
        return f"No intervals and no p-values: {few} too few, {FEWEST_SENTENCES} are needed."
    if sentences < FEW_SENTENCES:
        return (
            f"Warning: with {sentences} test sentences, fewer than {FEW_SENTENCES}, intervals and p-values are rough."
        )
    return ""

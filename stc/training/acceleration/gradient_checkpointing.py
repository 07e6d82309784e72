"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174).

A layer keeps only its input, and the backward pass computes the rest again. The numbers are the same; a step has about
a third more operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def gradient_checkpointing(model: Any, enabled: bool) -> Iterator[None]:
    """Use gradient checkpointing inside the block if ``enabled``; a model in eval mode never uses it.

    Args:
        model: of transformers, with or without adapters.
    """
    if not enabled:
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    # transformers makes embeddings and convolutions require a gradient, which only the reentrant kind needs. The
    # backward pass would go through a frozen encoder for nothing.
    model.disable_input_require_grads()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()

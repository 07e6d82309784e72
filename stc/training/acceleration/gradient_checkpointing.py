"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): a layer keeps its input, and what is inside is computed
again when the backward pass needs it. The same operations on the same numbers; about a third more of them in a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def gradient_checkpointing(model: Any, wanted: bool) -> Iterator[None]:
    """Inside, the layers of a model in train mode compute so if it is ``wanted``; in eval mode they do not.

    Args:
        model: of transformers, with adapters on it or without.
    """
    if not wanted:
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    # transformers has embeddings and convolutions ask for a gradient, which only the reentrant kind needs, and which
    # a frozen encoder would then be passed through for nothing.
    model.disable_input_require_grads()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()

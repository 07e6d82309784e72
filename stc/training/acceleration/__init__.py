"""Faster training, or training in less memory, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def modules_replaced(model: nn.Module, modules: Mapping[str, Any], make: Callable[[Any], nn.Module]) -> Iterator[None]:
    """Replace each of the ``modules``, given by dotted name, by ``make(module)`` inside the block."""
    try:
        for name, module in modules.items():
            model.set_submodule(name, make(module))
        yield
    finally:
        for name, module in modules.items():
            model.set_submodule(name, module)

"""Modules of a model replaced for as long as something lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def modules_replaced(model: nn.Module, modules: Mapping[str, Any], make: Callable[[Any], nn.Module]) -> Iterator[None]:
    """Inside, what ``make`` gives for each module stands in its place. Afterwards the modules are back.

    Args:
        modules: of the model, by dotted name.
    """
    try:
        for name, module in modules.items():
            model.set_submodule(name, make(module))
        yield
    finally:
        for name, module in modules.items():
            model.set_submodule(name, module)

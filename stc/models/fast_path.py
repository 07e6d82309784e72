"""What stc's own engines need of a family, beyond what every family says.

With it the engines of :mod:`stc.decoding` decode a family, and greedy searches share what candidates have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stc.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor


class FastPath(Architecture, ABC):
    """A family of whose decoder stc computes the layers one by one. It keeps them as ``layers``, and has a ``norm``
    after them."""

    @abstractmethod
    def unsupported_by_engines(self, config: Mapping[str, Any]) -> str:
        """Return, in words, what of a parsed config.json the methods below and full causal attention do not compute;
        empty where they compute all of it."""

    @abstractmethod
    def attention_inputs(
        self, layer: Any, hidden: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a decoder layer's attention takes: queries, keys and values, (tokens, heads, width) each.

        Args:
            hidden: (tokens, hidden); of which utterances doesn't matter here.
            rotation: what :meth:`rotation` gives for the tokens' positions.
        """

    @abstractmethod
    def layer_output(self, layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
        """Return a decoder layer's output, (tokens, hidden), from its input and what its attention found, (tokens,
        heads, width)."""

    @abstractmethod
    def rotation(self, decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return what positions, (tokens,), do to queries and keys (Su et al. 2021, arXiv 2104.09864), in the type of
        ``hidden``."""

    @abstractmethod
    def attention_shape(self, decoder: Any) -> tuple[int, int, float]:
        """Return of a decoder: heads of keys and values, their width, and what scores are multiplied with."""


def unsupported_by_engines(family: Architecture, config: Mapping[str, Any]) -> str:
    """Return, in words, what of a model stc's own engines do not compute, and transformers does; empty where they
    compute all of it.

    Args:
        config: the parsed config.json of the model.
    """
    if not isinstance(family, FastPath):
        return f"an architecture, {family.model_type}, that stc's engines do not know"
    return family.unsupported_by_engines(config)

"""The interface that stc's own engines (:mod:`stc.decoding`) need of a family, beyond that of every family.

With it they decode the family, and greedy searches compute only once what candidates have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stc.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor


class FastPath(Architecture, ABC):
    """A family whose decoder layers stc computes one by one. The decoder has ``layers``, and a ``norm`` after them."""

    @abstractmethod
    def unsupported_by_engines(self, config: Mapping[str, Any]) -> str:
        """Return what the methods below and full causal attention do not compute."""

    @abstractmethod
    def attention_inputs(
        self, layer: Any, hidden: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a decoder layer's queries, keys and values, (tokens, heads, width) each.

        Args:
            hidden: (tokens, hidden). The tokens may be of several utterances.
            rotation: what :meth:`rotation` returns for the tokens' positions.
        """

    @abstractmethod
    def layer_output(self, layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
        """Return a decoder layer's output, (tokens, hidden), from its input and the output of its attention, (tokens,
        heads, width)."""

    @abstractmethod
    def rotation(self, decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rotary embedding of positions, (tokens,), in the type of ``hidden`` (Su et al. 2021, arXiv
        2104.09864)."""

    @abstractmethod
    def attention_shape(self, decoder: Any) -> tuple[int, int, float]:
        """Return the number of key-value heads, their width, and the factor of attention scores."""

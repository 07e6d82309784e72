"""A key-value cache that is written in place."""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """Keys and values of one decoder layer, with room for the tokens to come.

    transformers' own layer concatenates at every token, which moves the whole cache each time.

    Args:
        room: positions beyond those of the first call.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None  # (utterances, heads, positions, head width)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._buffers is None:
            self.lazy_initialization(key_states, value_states)
            utterances, heads, positions, width = key_states.shape
            size = (utterances, heads, positions + self._room, width)
            self._buffers = (key_states.new_empty(size), value_states.new_empty(size))
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        assert self._buffers is not None
        end = self.get_seq_length()
        self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)

    def shared(self) -> RoomyLayer:
        """A layer with the same positions in the same memory: what is appended to one is overwritten by the next.

        For continuations that are generated one after the other from the same beginning.
        """
        twin = RoomyLayer(self._room)
        twin.dtype, twin.device, twin.is_initialized = self.dtype, self.device, self.is_initialized
        twin._buffers, twin.keys, twin.values = self._buffers, self.keys, self.values
        return twin


def roomy_cache(layers: int, room: int) -> Cache:
    """An empty cache for that many decoder layers, with ``room`` for tokens after the prompt."""
    return Cache(layers=[RoomyLayer(room) for _ in range(layers)])

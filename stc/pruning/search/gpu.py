"""The inner loop of a greedy search on a GPU: several candidates decoded together.

A candidate's own work on the prompts begins at the layer above it, as in :mod:`stc.pruning.search.translations`. A
decoding step reads every weight once for all rows, so candidates share steps. A row is one utterance without one
candidate: at that layer, the row's input is passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stc.decoding.gpu_engine import GPUDecoder, PackedPrompts
from stc.system.memory import free_memory

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

MEMORY_SHARE = 0.75  # of the GPU's free memory, for keys and values; the rest is for computing


def tokens_without_each(
    translator: Translator,
    embeddings: Sequence[Tensor],
    remaining: Sequence[int],
    candidates: Collection[int],
    *,
    rows: int,
    max_new_tokens: int,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (candidate, tokens of each utterance without it), the lowest candidate first.

    The tokens are (utterances, new tokens), on the CPU, with -1 after the last token of each.

    Args:
        embeddings: of each utterance's prompt, (positions, hidden).
        remaining: the layers of the model before a candidate is removed.
        candidates: some of ``remaining``, but not its last.
        rows: how many are decoded together at most; at least one for each utterance.
    """
    ascent = _GPUAscent(translator, embeddings, remaining, max(1, rows // len(embeddings)), max_new_tokens)
    places = [place for place, layer in enumerate(remaining) if layer in candidates]
    found: list[tuple[int, Tensor]] = []
    for place, following in zip(places, [*places[1:], None], strict=True):
        ascent.up_to(place)
        ascent.leave_out()
        if following is None or not ascent.has_room(following):
            # The caller scores the finished candidates while the GPU works on the prompts.
            yield from found
            found = [(remaining[without], tokens) for without, tokens in ascent.decode()]
    yield from found


class _GPUAscent:
    """The prompts on their way up through the layers, and the candidates left out since the last decoding.

    The decoder's first slots hold the caches of the layers passed, one each. The candidates take slots from the other
    end.
    """

    def __init__(
        self,
        translator: Translator,
        embeddings: Sequence[Tensor],
        remaining: Sequence[int],
        together: int,
        max_new_tokens: int,
    ) -> None:
        self._prompts = PackedPrompts.of(embeddings)
        self._together = together
        tokens, rows = len(self._prompts.embeddings), together * len(embeddings)
        family = translator.fast_path
        heads, width, _ = family.attention_shape(family.stack(translator.model, "decoder"))
        layer_bytes = 2 * heads * width * self._prompts.embeddings.element_size()
        self._slots = _slots(
            len(remaining), together, tokens * layer_bytes, rows * max_new_tokens * layer_bytes * len(remaining),
            self._prompts.embeddings.device,
        )  # fmt: skip
        self._decoder = GPUDecoder(
            translator, remaining, tokens=tokens, rows=rows, max_new_tokens=max_new_tokens, slots=self._slots
        )
        self._rotation = self._decoder.rotation(self._prompts)
        self._hidden = self._prompts.embeddings
        self._place = 0
        self._free = self._slots  # the candidates have taken the slots from this one on
        self._left_out: list[tuple[int, Tensor, Tensor]] = []  # place, output at the ends of the prompts, slots

    def up_to(self, place: int) -> None:
        """Run the prompts through the layers below a place."""
        while self._place < place:
            self._hidden = self._through(self._place, self._hidden, self._place)
            self._place += 1

    def leave_out(self) -> None:
        """Leave out the next layer, and run the prompts through all layers above it."""
        above = range(self._place + 1, self._decoder.layers)
        self._free -= len(above)
        hidden = self._hidden
        for offset, place in enumerate(above):
            hidden = self._through(place, hidden, self._free + offset)
        slots = torch.arange(self._decoder.layers)
        slots[self._place + 1 :] = torch.arange(len(above)) + self._free
        self._left_out.append((self._place, hidden, slots))

    def has_room(self, place: int) -> bool:
        """Return whether the candidate at a place can be decoded together with those left out."""
        own = self._decoder.layers - place - 1
        return len(self._left_out) < self._together and place + own <= self._free

    def decode(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (place, tokens) of the candidates left out, and forget them."""
        device, utterances = self._hidden.device, len(self._prompts)
        places = torch.tensor([place for place, _, _ in self._left_out])
        # The rows of one utterance follow each other: the second finds a shared prompt in the GPU's cache.
        slots = torch.stack([slots for _, _, slots in self._left_out], dim=1).repeat(1, utterances)
        skipped = (torch.arange(self._decoder.layers)[:, None] == places).repeat(1, utterances)
        tokens = self._decoder.generate(
            torch.stack([hidden for _, hidden, _ in self._left_out], dim=1).flatten(0, 1),
            self._prompts.starts[:-1].repeat_interleave(len(places)),
            self._prompts.starts.diff().repeat_interleave(len(places)),
            slots.to(device),
            skipped.to(device),
        ).cpu()
        self._left_out, self._free = [], self._slots
        yield from zip(places.tolist(), tokens.unflatten(0, (utterances, len(places))).unbind(1), strict=True)

    def _through(self, place: int, hidden: Tensor, slot: int) -> Tensor:
        return self._decoder.run_layer(place, hidden, self._prompts, self._rotation, slot)


def _slots(layers: int, together: int, slot_bytes: int, token_bytes: int, device: torch.device) -> int:
    """Return how many slots this many candidates need, or how many fit; at least those of one candidate."""
    count = together * (layers - 2) + 1
    if device.type == "cuda":
        count = min(count, int((MEMORY_SHARE * free_memory("cuda") - token_bytes) // slot_bytes))
    return max(count, layers - 1)

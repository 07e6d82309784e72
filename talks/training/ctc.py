"""A second objective while a model is trained from scratch: the encoder alone has to spell what is said.

Translation gives a random encoder hardly any signal to align sound and text by; connectionist temporal
classification (Graves et al. 2006) of the source's characters gives it one. The head is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

BLANK = 0


class Characters:
    """The character inventory of the source texts: letters, digits, apostrophe and space, in lower case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._index = {
            character: index for index, character in enumerate(sorted(set().union(*map(_spelling, texts))), start=1)
        }

    def __len__(self) -> int:
        """How many classes there are, with the blank."""
        return len(self._index) + 1

    def encode(self, text: str) -> np.ndarray:
        return np.array([self._index[character] for character in _spelling(text)], dtype=np.int64)


class CtcHead(nn.Module):
    """A linear layer over the encoder's output, which it takes from the running model on its way to the projector."""

    def __init__(self, translator: Translator, characters: int) -> None:
        super().__init__()
        (projector,) = translator.architecture.parts["projector"]
        self._encoded = torch.empty(0)
        self._hook = translator.model.get_submodule(projector).register_forward_pre_hook(self._keep)
        width: int = translator.model.config.audio_config.hidden_size
        self.classes = nn.Linear(width, characters)

    def _keep(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self._encoded = args[0]

    def detach(self) -> None:
        """Leave the model as it was."""
        self._hook.remove()
        self._encoded = torch.empty(0)

    def losses(self, positions: Sequence[int], spellings: torch.Tensor, letters: Sequence[int]) -> torch.Tensor:
        """CTC loss a character of each utterance of the model's last pass: (utterances,).

        An utterance with more characters than positions has loss 0. On CUDA the gradient is summed in no fixed
        order, so trainings agree to rounding only.

        Args:
            positions: how many of the encoder's output each utterance has.
            spellings: characters, (utterances, longest), padded with anything.
            letters: how many characters each has.
        """
        flat = functional.log_softmax(self.classes(self._encoded).float(), dim=-1)
        counts = torch.tensor(positions, device=flat.device)
        place = torch.arange(max(positions), device=flat.device)[None] < counts[:, None]
        padded = flat.new_zeros(*place.shape, flat.shape[-1]).masked_scatter(place[..., None], flat)
        scores = padded.transpose(0, 1)
        lengths = torch.tensor(letters)
        losses = functional.ctc_loss(
            scores, spellings, torch.tensor(positions), lengths, BLANK, reduction="none", zero_infinity=True
        )
        return losses / lengths.to(losses.device).clamp(min=1)


def _spelling(text: str) -> str:
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower().replace("’", "'"))
    return " ".join(kept.split())

"""A second objective for training from scratch: the encoder alone has to spell what is said.

From translation alone a random encoder hardly learns to align sound and text. Connectionist temporal classification
(CTC, Graves et al. 2006) of the source's characters teaches it. The CTC head is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

BLANK = 0


class Characters:
    """The characters of the source texts: letters, digits, apostrophe and space, in lower case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._index = {
            character: index for index, character in enumerate(sorted(set().union(*map(_spelling, texts))), start=1)
        }

    def __len__(self) -> int:
        """Return the number of classes, with the blank."""
        return len(self._index) + 1

    def encode(self, text: str) -> np.ndarray:
        return np.array([self._index[character] for character in _spelling(text)], dtype=np.int64)


class CtcHead(nn.Module):
    """A linear layer over the encoder's output. A hook before the projector takes this output from the model."""

    def __init__(self, translator: Translator, characters: int) -> None:
        super().__init__()
        (projector,) = translator.architecture.parts["projector"]
        self.encoded = torch.empty(0)
        self._hook = translator.model.get_submodule(projector).register_forward_pre_hook(self._keep)
        width: int = translator.model.config.audio_config.hidden_size
        self.classes = nn.Linear(width, characters)

    def _keep(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.encoded = args[0]

    def detach(self) -> None:
        """Remove the hook from the model."""
        self._hook.remove()
        self.encoded = torch.empty(0)

    def losses(self, positions: Sequence[int], spellings: torch.Tensor, letters: Sequence[int]) -> torch.Tensor:
        """Return the CTC loss per character of each utterance in the model's last pass: (utterances,).

        An utterance with more characters than positions has loss 0. On CUDA the gradient is summed in no fixed order,
        so trainings agree only up to rounding.

        Args:
            positions: the number of encoder positions of each utterance.
            spellings: characters, (utterances, longest), with any padding.
            letters: the number of characters of each utterance.
        """
        flat = functional.log_softmax(self.classes(self.encoded).float(), dim=-1)
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
    cleaned = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower().replace("’", "'"))
    return " ".join(cleaned.split())

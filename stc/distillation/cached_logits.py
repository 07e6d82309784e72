"""A model's most probable tokens at each position of some utterances, computed once and stored on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

FILE = "logits.safetensors"


class TopK(NamedTuple):
    """The ``k`` most probable tokens at each position, and the probability of all others together.

    A divergence over these k + 1 outcomes is at most the one over the vocabulary, and equal to it if k is the size of
    the vocabulary.

    Attributes:
        tokens: (positions, k), int64.
        logprobs: their log probabilities, (positions, k), float32.
        rest: log probability of all other tokens, (positions,), float32; minus infinity if there are none.
    """

    tokens: Tensor
    logprobs: Tensor
    rest: Tensor

    @classmethod
    def of(cls, logits: Tensor, k: int, temperature: float) -> TopK:
        """Take the top k of logits, (positions, vocabulary), after division by ``temperature``."""
        logprobs = functional.log_softmax(logits.float() / temperature, dim=-1)
        top = logprobs.topk(min(k, logits.shape[-1]), dim=-1)
        return cls(top.indices, top.values, _rest(logprobs, top.indices))

    @classmethod
    def joined(cls, parts: Sequence[TopK]) -> TopK:
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def to(self, device: torch.device | str) -> TopK:
        return TopK(*(tensor.to(device) for tensor in self))

    def split(self, counts: Sequence[int]) -> list[TopK]:
        """Return one for each utterance, which have so many positions."""
        return [TopK(*part) for part in zip(*(tensor.split(list(counts)) for tensor in self), strict=True)]

    def outcomes(self) -> Tensor:
        """Return the log probabilities of the k tokens, and of any other token if there is one."""
        return _outcomes(self.logprobs, self.rest)

    def logprobs_of_same_outcomes(self, logprobs: Tensor) -> Tensor:
        """Return the log probabilities of the same outcomes for another model, from its (positions, vocabulary)."""
        return _outcomes(logprobs.gather(-1, self.tokens), _rest(logprobs, self.tokens))


def _rest(logprobs: Tensor, tokens: Tensor) -> Tensor:
    return logprobs.scatter(-1, tokens, -torch.inf).logsumexp(dim=-1)


def _outcomes(logprobs: Tensor, rest: Tensor) -> Tensor:
    if bool(torch.isneginf(rest).all()):  # the k tokens are the whole vocabulary
        return logprobs
    return torch.cat([logprobs, rest[:, None]], dim=-1)


def write(folder: Path, utterances: Sequence[TopK]) -> None:
    from safetensors.torch import save_file

    whole = TopK.joined(utterances)
    save_file(
        {
            "tokens": whole.tokens.to(torch.int32).contiguous(),
            "logprobs": whole.logprobs.contiguous(),
            "rest": whole.rest.contiguous(),
            "positions": torch.tensor([len(one.rest) for one in utterances]),
        },
        folder / FILE,
    )


def read(folder: Path) -> list[TopK]:
    """Return the logits of each utterance, in the order in which they were written."""
    from safetensors.torch import load_file

    stored = load_file(folder / FILE)
    return TopK(stored["tokens"].long(), stored["logprobs"], stored["rest"]).split(stored["positions"].tolist())

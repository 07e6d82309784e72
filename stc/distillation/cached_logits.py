"""A model's most probable tokens at each position of some utterances, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

FILE = "logits.safetensors"


@dataclass(frozen=True)
class TopK:
    """The ``k`` most probable tokens at each position, and how probable all others are together.

    A divergence over these k + 1 outcomes is never larger than the one over the vocabulary, and the same for a k
    that is the whole vocabulary.

    Attributes:
        tokens: (positions, k), int64.
        logprobs: logarithms of their probabilities, (positions, k), float32.
        rest: of the probability of all other tokens, (positions,), float32; minus infinity where there are none.
    """

    tokens: Tensor
    logprobs: Tensor
    rest: Tensor

    @classmethod
    def of(cls, logits: Tensor, k: int, temperature: float) -> TopK:
        """Of logits (positions, vocabulary), after division by ``temperature``."""
        logprobs = functional.log_softmax(logits.float() / temperature, dim=-1)
        top = logprobs.topk(min(k, logits.shape[-1]), dim=-1)
        return cls(top.indices, top.values, _rest(logprobs, top.indices))

    @classmethod
    def joined(cls, parts: Sequence[TopK]) -> TopK:
        return cls(
            torch.cat([part.tokens for part in parts]),
            torch.cat([part.logprobs for part in parts]),
            torch.cat([part.rest for part in parts]),
        )

    def to(self, device: torch.device | str) -> TopK:
        return TopK(self.tokens.to(device), self.logprobs.to(device), self.rest.to(device))

    def split(self, counts: Sequence[int]) -> list[TopK]:
        """Of each utterance, which have so many positions."""
        parts = (tensor.split(list(counts)) for tensor in (self.tokens, self.logprobs, self.rest))
        return [TopK(*part) for part in zip(*parts, strict=True)]

    def outcomes(self) -> Tensor:
        """Logarithms of the probabilities of the k tokens, and of any other where there is one."""
        return _outcomes(self.logprobs, self.rest)

    def logprobs_of_same_outcomes(self, logprobs: Tensor) -> Tensor:
        """How probable the same outcomes are to another model, of (positions, vocabulary) for it."""
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
    """Of each utterance, in the order they were written."""
    from safetensors.torch import load_file

    held = load_file(folder / FILE)
    return TopK(held["tokens"].long(), held["logprobs"], held["rest"]).split(held["positions"].tolist())

"""Beam search and sampling by transformers' ``generate``: for a teacher only; slower than greedy decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from stc.data.manifest import Manifest
from stc.decoding.greedy import DECODE_BATCH, embed_prompts, longest_first
from stc.decoding.options import Decoding
from stc.decoding.tokens import decode_texts
from stc.decoding.transformers_generate import generate_tokens
from stc.pipeline.stage import Progress
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator


@torch.inference_mode()
def generate(
    translator: Translator,
    manifest: Manifest,
    decoding: Decoding,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
    features: FeatureReader | None = None,
) -> list[list[str]]:
    """Translate a manifest of any size: for each utterance its translations, one or ``decoding.samples``.

    In float32 they don't depend on ``batch_size``, which counts hypotheses: beams and samples share it.

    Args:
        progress: moved on as utterances are finished.
        features: as for :func:`stc.decoding.greedy.embed_prompts`.
    """
    samples = decoding.samples or 1
    texts: list[list[str]] = [[] for _ in range(len(manifest))]

    def translated(rows: Sequence[int]) -> None:
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[row] for row in rows])
        encoded = embed_prompts(translator, part, batch_size=len(rows), features=features)
        order = longest_first(encoded)
        drawn = [(place, sample) for place in order for sample in range(samples)]
        tokens = generate_tokens(
            translator,
            encoded.rows([place for place, _ in drawn]),
            max_new_tokens,
            beams=decoding.beams or 1,
            changed=_drawing(decoding, [(part.rows[place].id, sample) for place, sample in drawn]),
        )
        found = decode_texts(translator, tokens)
        for place, start in zip(order, range(0, len(found), samples), strict=True):
            texts[rows[place]] = found[start : start + samples]
        if progress is not None:
            progress.update(len(rows))

    by_duration = sorted(range(len(manifest)), key=lambda row: manifest.rows[row].duration, reverse=True)
    together = max(1, batch_size // (samples * (decoding.beams or 1)))
    BatchSize(together, DECODE_BATCH).over(by_duration, translated)
    return texts


def _drawing(decoding: Decoding, drawn: Sequence[tuple[str, int]]) -> LogitsProcessorList:
    """What is done to the logits so that the largest is a draw from the distribution.

    Args:
        drawn: the utterance and the number of the sample of each row of the batch.
    """
    if decoding.method != "sample":
        return LogitsProcessorList()
    assert decoding.temperature is not None
    assert decoding.top_p is not None
    seeds = [f"{decoding.seed} {name} {sample}".encode() for name, sample in drawn]
    return LogitsProcessorList(
        [
            TemperatureLogitsWarper(decoding.temperature),
            TopPLogitsWarper(decoding.top_p),
            _Draw([int.from_bytes(hashlib.sha256(seed).digest()[:7]) for seed in seeds]),
        ]
    )


class _Draw(LogitsProcessor):
    """Adds Gumbel noise, after which the largest logit is a draw from their softmax (Gumbel 1954; Maddison et al. 2014,
    arXiv 1411.0030).

    ``generate`` draws for a whole batch from one stream, so that a text would depend on who shares its batch, and on
    the device. Here each row has a stream of its own, on the CPU.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tiny = torch.finfo(torch.float32).tiny  # the logarithm of 0 would draw a token of no probability
        waiting = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=stream) for stream in self._streams]
        ).clamp(min=tiny)
        return scores - waiting.log().to(scores.device)

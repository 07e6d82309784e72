"""Decoding by transformers' ``generate``: beam search and sampling, and greedy decoding of models that stc's engines
do not support (:meth:`stc.models.architecture.Architecture.unsupported_by_engines`). It is slower than those.

``generate`` takes settings that it is not given from the folder's generation_config, even if it is given a
configuration. So the model's own is replaced meanwhile, and of the folder's only the tokens that end a turn are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from stc.data.manifest import Manifest
from stc.decoding.greedy import DECODE_BATCH, embed_prompts, longest_first
from stc.decoding.options import Decoding
from stc.decoding.tokens import decode_texts, end_tokens
from stc.pipeline.stage import Progress
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import KnownStates
    from stc.models.load_and_save import Translator


@torch.inference_mode()
def generate_tokens(
    translator: Translator,
    prompts: Sequence[Tensor],
    max_new_tokens: int,
    *,
    beams: int = 1,
    logits_processor: LogitsProcessorList | None = None,
) -> list[list[int]]:
    """Return the tokens that follow each prompt, (positions, hidden) each, up to the end of the turn.

    Args:
        prompts: decoded together in one batch.
        logits_processor: changes logits before the largest is taken.
    """
    model, own = translator.model, translator.model.generation_config
    ends = sorted(end_tokens(translator))
    ones = [torch.ones(len(row), dtype=torch.int64, device=row.device) for row in prompts]
    embeddings, mask = (pad_sequence(list(each), batch_first=True, padding_side="left") for each in (prompts, ones))
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=beams,
        num_return_sequences=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )
    try:
        tokens = model.generate(
            inputs_embeds=embeddings, attention_mask=mask, logits_processor=logits_processor or LogitsProcessorList()
        )
    finally:
        model.generation_config = own
    rows = tokens.tolist()
    return [row[: next((place for place, token in enumerate(row) if token in ends), len(row))] for row in rows]


@torch.inference_mode()
def translate_by_beams_or_sampling(
    translator: Translator,
    manifest: Manifest,
    decoding: Decoding,
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress | None = None,
    features: KnownStates | None = None,
) -> list[list[str]]:
    """Translate a manifest of any size; return one translation of each utterance, or ``decoding.samples``.

    Args:
        batch_size: hypotheses that are decoded together. In float32, texts do not depend on it.
        progress: a bar that counts finished utterances.
        features: as in :func:`stc.decoding.greedy.embed_prompts`.
    """
    samples = decoding.samples or 1
    texts: list[list[str]] = [[] for _ in range(len(manifest))]

    def translate_batch(rows: Sequence[int]) -> None:
        part = Manifest(manifest.folder, manifest.task, [manifest.rows[row] for row in rows])
        prompts = embed_prompts(translator, part, batch_size=len(rows), features=features)
        order = longest_first(prompts)
        drawn = [(place, sample) for place in order for sample in range(samples)]
        tokens = generate_tokens(
            translator,
            [prompts[place] for place, _ in drawn],
            max_new_tokens,
            beams=decoding.beams or 1,
            logits_processor=_sampling(decoding, [(part.rows[place].id, sample) for place, sample in drawn]),
        )
        found = decode_texts(translator, tokens)
        for place, start in zip(order, range(0, len(found), samples), strict=True):
            texts[rows[place]] = found[start : start + samples]
        if progress is not None:
            progress.update(len(rows))

    by_duration = sorted(range(len(manifest)), key=lambda row: manifest.rows[row].duration, reverse=True)
    together = max(1, batch_size // (samples * (decoding.beams or 1)))
    BatchSize(together, DECODE_BATCH).over(by_duration, translate_batch)
    return texts


def _sampling(decoding: Decoding, drawn: Sequence[tuple[str, int]]) -> LogitsProcessorList:
    """Return processors after which the largest logit is a draw from the distribution; none if nothing is sampled.

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
            GumbelNoise([int.from_bytes(hashlib.sha256(seed).digest()[:7]) for seed in seeds]),
        ]
    )


class GumbelNoise(LogitsProcessor):
    """Adds Gumbel noise to logits. The largest is then a draw from their softmax (Gumbel 1954; Maddison et al. 2014,
    arXiv 1411.0030).

    ``generate`` draws for a whole batch from one random stream, so a text would depend on the other utterances of its
    batch and on the device. Here each row has its own stream, on the CPU.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tiny = torch.finfo(torch.float32).tiny  # the logarithm of 0 would draw a token of no probability
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=one) for one in self._streams])
        return scores - noise.clamp(min=tiny).log().to(scores.device)

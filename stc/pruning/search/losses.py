"""The loss without each of many layers in turn, for a greedy search by the loss and for the screen of a search."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.decoding.greedy import DECODE_BATCH, embed_prompts
from stc.models.architecture import Stack
from stc.models.layer_removal import only_layers, without_layers
from stc.pruning.search.translations import LayersByStack
from stc.system.memory import BatchSize

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.load_and_save import Translator


def losses_without_each(
    translator: Translator,
    manifest: Manifest,
    removed: LayersByStack,
    candidates: LayersByStack,
    *,
    batch_size: int,
    features: FeatureReader | None = None,
) -> Iterator[tuple[Stack, int, float]]:
    """Yield (stack, candidate, teacher-forced loss of the model without ``removed`` and the candidate), decoder first.

    The loss is that of :meth:`stc.training.teacher_forcing.TeacherForcing.loss`, in nats per target token. For the
    candidates of the decoder the audio is encoded once, or not at all if its ``features`` are given and the encoder is
    complete. For each candidate of the encoder it is encoded again.
    """
    encoder_removed = removed["encoder"]
    size = BatchSize(batch_size, DECODE_BATCH)
    if candidates["decoder"]:
        with without_layers(translator, {"encoder": encoder_removed}):
            pairs = _pairs(translator, manifest, size, None if encoder_removed else features)
        unfinished = set(candidates["decoder"])

        def search(batch_size: int) -> Iterator[tuple[Stack, int, float]]:
            for layer, loss in _without_each(translator, pairs, removed["decoder"], unfinished, batch_size):
                unfinished.discard(layer)
                yield "decoder", layer, loss

        yield from size.resumed(search)
    for layer in sorted(candidates["encoder"]):
        with without_layers(translator, {**removed, "encoder": [*encoder_removed, layer]}):
            loss = _loss(translator, _pairs(translator, manifest, size), size)
        yield "encoder", layer, loss


@dataclass(frozen=True)
class _Pair:
    """An utterance with its target.

    Attributes:
        inputs: the decoder's input for the prompt, the audio and every target token but the last: (positions, width).
        target: the target tokens with the end of the turn, which the last positions predict: (tokens,).
    """

    inputs: Tensor
    target: Tensor


@dataclass(frozen=True)
class PairBatch:
    """Some pairs on their way up through the decoder.

    They are padded on the right, where no real position looks, so attention needs only the causal mask.

    Attributes:
        hidden: the input of the next layer, (pairs, positions, width).
        rows: the pair of each target token, (target tokens,).
        places: the position that predicts each target token, (target tokens,).
        targets: the target tokens, (target tokens,).
    """

    hidden: Tensor
    rows: Tensor
    places: Tensor
    targets: Tensor

    @classmethod
    def of(cls, pairs: Sequence[_Pair]) -> PairBatch:
        hidden = torch.nn.utils.rnn.pad_sequence([pair.inputs for pair in pairs], batch_first=True)
        rows = [torch.full((len(pair.target),), row) for row, pair in enumerate(pairs)]
        places = [torch.arange(len(pair.inputs) - len(pair.target), len(pair.inputs)) for pair in pairs]
        at = torch.stack([torch.cat(rows), torch.cat(places)]).to(hidden.device)
        return cls(hidden, at[0], at[1], torch.cat([pair.target for pair in pairs]))

    def through(self, translator: Translator) -> PairBatch:
        """Return the batch after the decoder with its present layers."""
        decoder = translator.architecture.stack(translator.model, "decoder")
        return replace(self, hidden=decoder(inputs_embeds=self.hidden, use_cache=False).last_hidden_state)

    def nats(self, translator: Translator) -> Tensor:
        """Return the summed cross-entropy of the target tokens after the decoder with its present layers."""
        states = self.through(translator).hidden[self.rows, self.places]
        logits = translator.model.get_output_embeddings()(states)
        return functional.cross_entropy(logits.float(), self.targets, reduction="sum").double()


@torch.inference_mode()
def _pairs(
    translator: Translator, manifest: Manifest, size: BatchSize, features: FeatureReader | None = None
) -> list[_Pair]:
    """Return the pairs of a manifest, the longest first, so that a batch has pairs of similar length."""
    encoded = embed_prompts(translator, manifest, batch_size=size, features=features)
    tokens = Collator.of(translator, manifest.task).target_tokens(manifest.targets)
    targets = [torch.from_numpy(row).to(translator.model.device) for row in tokens]
    embed = translator.model.get_input_embeddings()
    pairs = [
        _Pair(torch.cat([before, embed(target[:-1])]), target) for before, target in zip(encoded, targets, strict=True)
    ]
    return sorted(pairs, key=lambda pair: len(pair.inputs), reverse=True)


@torch.inference_mode()
def _loss(translator: Translator, pairs: Sequence[_Pair], size: BatchSize) -> float:
    """Return the loss of the model with its present layers."""
    nats: list[Tensor] = []
    size.over(pairs, lambda some: nats.append(PairBatch.of(some).nats(translator)))
    return _per_token(nats, pairs)


@torch.inference_mode()
def _without_each(
    translator: Translator,
    pairs: Sequence[_Pair],
    removed: Collection[int],
    candidates: Collection[int],
    batch_size: int,
) -> Iterator[tuple[int, float]]:
    """Yield (candidate, loss), the lowest candidate first.

    The layers below a candidate give the same output for every candidate above them. So their output is computed once,
    one layer after the other, and a candidate's own pass starts at the layer above it.
    """
    count = len(translator.architecture.layers_of(translator.model, "decoder"))
    remaining = [layer for layer in range(count) if layer not in removed]
    batches = [PairBatch.of(pairs[start : start + batch_size]) for start in range(0, len(pairs), batch_size)]
    ordered = sorted(candidates)
    for place, layer in enumerate(remaining[: remaining.index(ordered[-1]) + 1] if ordered else []):
        if layer in ordered:
            with only_layers(translator, remaining[place + 1 :]):
                loss = _per_token([batch.nats(translator) for batch in batches], pairs)
            yield layer, loss
        if layer != ordered[-1]:
            with only_layers(translator, [layer], norm=False):
                batches = [batch.through(translator) for batch in batches]


def _per_token(nats: Sequence[Tensor], pairs: Sequence[_Pair]) -> float:
    return float(torch.stack(list(nats)).sum()) / sum(len(pair.target) for pair in pairs)

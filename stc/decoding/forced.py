"""A manifest gone through with its own targets: the loss of a model on it, and what its layers do to what passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.data.manifest import Manifest
from stc.models.architecture import Stack
from stc.stage import Context
from stc.training.examples import Examples
from stc.training.objective import translation_loss

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def batches(translator: Translator, manifest: Manifest, ctx: Context) -> Iterator[Batch]:
    """The utterances with their targets, on the device, a micro-batch at a time, with the audio's features."""
    examples = Examples(translator, manifest, ctx, hear_once=False)
    for start in range(0, len(manifest), ctx.train_micro_batch):
        yield examples.batch(range(start, min(start + ctx.train_micro_batch, len(manifest))))


@torch.inference_mode()
def heard(translator: Translator, batch: Batch) -> Batch:
    """The batch with what the encoder makes of its audio."""
    return replace(batch, heard=translator.architecture.hear(translator.model, batch.inputs))


@torch.inference_mode()
def loss(translator: Translator, forced: Iterable[Batch]) -> float:
    """Cross-entropy in nats a target token, without label smoothing."""
    total, tokens = 0.0, 0
    for batch in forced:
        total += float(translation_loss(translator, batch))
        tokens += batch.tokens
    return total / tokens


@dataclass
class Similarity:
    """How much the layers of one stack change what passes through them, as sums over positions.

    With x^l the input of layer l, and x^L the output of the last:

    Attributes:
        influence: of each layer l, of 1 - cos(x^l, x^(l+1)): (layers,), float64.
        influence_positions: how many positions that is summed over.
        angles: of blocks, angle(x^l, x^(l+n)) / pi at row l and column n - 1: (layers, layers), float64; 0 where
            l + n > L.
        angle_positions: as above.
    """

    influence: Tensor
    angles: Tensor
    influence_positions: int = 0
    angle_positions: int = 0

    def add(self, states: list[Tensor], everywhere: Tensor, at: Tensor) -> None:
        """Count a batch in.

        Args:
            states: x^0 to x^L, each (utterances, positions, width).
            everywhere: where ``influence`` is taken: (utterances, positions), bool.
            at: the same for ``angles``.
        """
        layers = len(states) - 1
        for layer, (before, after) in enumerate(pairwise(states)):
            gap = _direction(before[everywhere]) - _direction(after[everywhere])
            self.influence[layer] += gap.square().sum(-1).double().sum() / 2  # of unit vectors, 1 - cos
        directions = [_direction(state[at]) for state in states]
        for layer in range(layers):
            for end in range(layer + 1, layers + 1):
                self.angles[layer, end - layer - 1] += _angle(directions[layer], directions[end]).double().sum()
        self.influence_positions += int(everywhere.sum())
        self.angle_positions += int(at.sum())

    def means(self) -> dict[str, Any]:
        """``influence`` by layer, and ``angular``: by first layer, the distance of the blocks of 1, 2, … layers."""
        layers = len(self.influence)
        angles = (self.angles / self.angle_positions).tolist()
        return {
            "influence": (self.influence / self.influence_positions).tolist(),
            "angular": [angles[layer][: layers - layer] for layer in range(layers)],
        }


@torch.inference_mode()
def similarities(translator: Translator, forced: Iterable[Batch]) -> Iterator[dict[Stack, Similarity]]:
    """The similarities of both stacks over all batches so far, one batch after the other.

    In the decoder, influence is taken at every position and the angles where a target token is predicted. In the
    encoder, which predicts nothing, both are taken at every position that reaches its output.
    """
    family, model = translator.architecture, translator.model
    found: dict[Stack, Similarity] = {
        "decoder": _nothing(family.decoder(model).layers),
        "encoder": _nothing(family.encoder(model).layers),
    }
    for batch in forced:
        with _states(family.encoder(model).layers) as states:
            batch = heard(translator, batch)
        assert batch.heard is not None
        place = torch.arange(states[0].shape[1], device=states[0].device)
        present = place[None] < batch.heard.counts[:, None] * family.encoder_pooling
        found["encoder"].add(states, present, present)

        mask = batch.inputs["attention_mask"]
        with _states(family.decoder(model).layers) as states:
            embedded = family.embed(model, batch.inputs["input_ids"], batch.heard)
            family.decoder(model)(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        predicts = functional.pad(batch.labels[:, 1:] != IGNORED, (0, 1))  # a position predicts the token after it
        found["decoder"].add(states, mask.bool(), predicts)
        yield found


def _nothing(layers: Any) -> Similarity:
    device = next(layers.parameters()).device
    sums = torch.zeros(len(layers), len(layers) + 1, dtype=torch.float64, device=device)
    return Similarity(sums[:, 0], sums[:, 1:])


@contextmanager
def _states(layers: Any) -> Iterator[list[Tensor]]:
    """What goes into the first of ``layers`` and comes out of each, of one pass inside the context."""
    states: list[Tensor] = []
    handles = [layers[0].register_forward_pre_hook(lambda layer, given: states.append(given[0]))]
    handles += [layer.register_forward_hook(lambda layer, given, out: states.append(out)) for layer in layers]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _direction(states: Tensor) -> Tensor:
    return functional.normalize(states.float(), dim=-1)


def _angle(first: Tensor, second: Tensor) -> Tensor:
    """Between unit vectors, as a share of pi. Of nearly equal ones the arc cosine would keep half the digits only."""
    return 2 * torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1)) / torch.pi

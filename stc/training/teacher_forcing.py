"""A manifest gone through with its own targets: the loss of a model on it, and what its layers do to what passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.data.manifest import Manifest
from stc.decoding.predictions import translation_loss
from stc.models.architecture import Stack
from stc.pipeline.stage import Context, Progress
from stc.system.memory import BatchSize
from stc.training.examples import Examples
from stc.training.loop import MICRO_BATCH

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator


class TeacherForcing:
    """The utterances of a manifest with their targets, a micro-batch after the other; half as many at a time from then
    on where memory runs out.

    Args:
        encode_once: keep what the encoder makes of the audio, if it is not trained. Not for one that loses layers
            between two passes.
        features: what the encoder makes of the recordings, where that is known.
    """

    def __init__(
        self,
        translator: Translator,
        manifest: Manifest,
        ctx: Context,
        *,
        encode_once: bool = True,
        features: FeatureReader | None = None,
    ) -> None:
        self._translator = translator
        self._utterances = range(len(manifest))
        self._examples = Examples(translator, manifest, ctx, encode_once=encode_once, features=features)
        self._size = BatchSize(ctx.train_micro_batch, MICRO_BATCH)

    def over(self, run: Callable[[Batch], None], bar: Progress | None = None) -> None:
        """``run`` for each batch, on the device. Where memory did not suffice, it is called again with part of one:
        it must have changed nothing by then."""

        def of(indices: Sequence[int]) -> None:
            run(self._examples.batch(indices))
            if bar is not None:
                bar.update(len(indices))

        self._size.over(self._utterances, of)

    @torch.no_grad()
    def loss(self, bar: Progress | None = None) -> float:
        """Cross-entropy in nats a target token, without label smoothing."""
        losses, tokens = [], 0

        def add(batch: Batch) -> None:
            nonlocal tokens
            losses.append(float(translation_loss(self._translator, batch)))
            tokens += batch.tokens

        self.over(add, bar)
        return sum(losses) / tokens


@dataclass
class LayerSimilarity:
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

    def include(self, other: LayerSimilarity) -> None:
        """Count in what ``other`` has counted."""
        self.influence += other.influence
        self.angles += other.angles
        self.influence_positions += other.influence_positions
        self.angle_positions += other.angle_positions

    def means(self) -> dict[str, Any]:
        """``influence`` by layer, and ``angular``: by first layer, the distance of the blocks of 1, 2, … layers."""
        layers = len(self.influence)
        angles = (self.angles / self.angle_positions).tolist()
        return {
            "influence": (self.influence / self.influence_positions).tolist(),
            "angular": [angles[layer][: layers - layer] for layer in range(layers)],
        }


@torch.inference_mode()
def similarities(
    translator: Translator, manifest: Manifest, ctx: Context, bar: Progress | None = None
) -> dict[Stack, LayerSimilarity]:
    """The similarities of every stack over all utterances.

    In the decoder, influence is taken at every position and the angles where a target token is predicted. In the
    encoder, which predicts nothing, both are taken at every position that reaches its output.
    """
    family, model = translator.architecture, translator.model
    stacks = {stack: family.layers_of(model, stack) for stack in family.stacks}
    found = {stack: _nothing(layers) for stack, layers in stacks.items()}

    def add(batch: Batch) -> None:
        own = {stack: _nothing(layers) for stack, layers in stacks.items()}
        with _states(stacks.get("encoder", [])) as states:
            encoded = family.encode_audio(model, batch.inputs)
        if states:
            place = torch.arange(states[0].shape[1], device=states[0].device)
            present = place[None] < encoded.counts[:, None] * family.encoder_pooling
            own["encoder"].add(states, present, present)

        mask = batch.inputs["attention_mask"]
        with _states(stacks["decoder"]) as states:
            embedded = family.embed(model, batch.inputs["input_ids"], encoded)
            family.stack(model, "decoder")(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        predicts = functional.pad(batch.labels[:, 1:] != IGNORED, (0, 1))  # a position predicts the token after it
        own["decoder"].add(states, mask.bool(), predicts)
        for stack, similarity in own.items():
            found[stack].include(similarity)

    TeacherForcing(translator, manifest, ctx, encode_once=False).over(add, bar)
    return found


def _nothing(layers: Any) -> LayerSimilarity:
    device = next(layers.parameters()).device
    sums = torch.zeros(len(layers), len(layers) + 1, dtype=torch.float64, device=device)
    return LayerSimilarity(sums[:, 0], sums[:, 1:])


@contextmanager
def _states(layers: Any) -> Iterator[list[Tensor]]:
    """What goes into the first of ``layers`` and comes out of each, of one pass inside the context."""
    states: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda layer, given: states.append(given[0])) for layer in layers[:1]]
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

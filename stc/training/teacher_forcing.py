"""Teacher forcing: the loss of a model on a manifest's own targets, and how much each layer changes its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.architecture import Stack
from stc.pipeline.stage import Context
from stc.system.memory import BatchSize
from stc.training.examples import Examples
from stc.training.loop import MICRO_BATCH

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.load_and_save import Translator


class TeacherForcing:
    """A pass over the utterances of a manifest with their targets, one micro-batch after the other.

    Where memory runs out, micro-batches have half the size from then on.

    Args:
        encode_once: keep the output of an encoder that is not trained. Not for an encoder that loses layers between two
            passes.
        features: the output of the encoder for the manifest's recordings, if it is known.
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
        self._ctx = ctx
        self._utterances = range(len(manifest))
        self._examples = Examples(translator, manifest, ctx, encode_once=encode_once, features=features)
        self._size = BatchSize(ctx.train_micro_batch, MICRO_BATCH)

    def run(self, title: str, step: Callable[[Batch], None]) -> None:
        """Call ``step`` for each batch, on the device.

        Where memory runs out, ``step`` is called again with a part of the batch. It must have changed nothing by then.
        """
        with self._ctx.progress(title, total=len(self._utterances), unit="utterance") as bar:

            def step_with(indices: Sequence[int]) -> None:
                step(self._examples.batch(indices))
                bar.update(len(indices))

            self._size.over(self._utterances, step_with)

    @torch.no_grad()
    def loss(self) -> float:
        """Return the cross-entropy in nats per target token, without label smoothing or dropout."""
        model = self._translator.model
        losses, tokens = [], 0

        def add(batch: Batch) -> None:
            nonlocal tokens
            losses.append(float(translation_loss(self._translator, batch)))
            tokens += batch.tokens

        training = model.training
        model.eval()
        self.run("held-out loss", add)
        model.train(training)
        return sum(losses) / tokens


@dataclass
class LayerSimilarity:
    """A measure of how much the layers of one stack change their input, as sums over positions.

    x^l is the input of layer l, and x^L the output of the last layer.

    Attributes:
        influence: the sum of 1 - cos(x^l, x^(l+1)) for each layer l: (layers,), float64.
        influence_positions: the number of positions summed over.
        angles: the sum of angle(x^l, x^(l+n)) / pi for blocks of n layers, at row l and column n - 1: (layers, layers),
            float64; 0 where l + n > L.
        angle_positions: the number of positions summed over.
    """

    influence: Tensor
    angles: Tensor
    influence_positions: int = 0
    angle_positions: int = 0

    def add(self, states: list[Tensor], influence_at: Tensor, angles_at: Tensor) -> None:
        """Add a batch.

        Args:
            states: x^0 to x^L, each (utterances, positions, width).
            influence_at: the positions for ``influence``: (utterances, positions), bool.
            angles_at: the same for ``angles``.
        """
        layers = len(states) - 1
        for layer, (before, after) in enumerate(pairwise(states)):
            gap = _direction(before[influence_at]) - _direction(after[influence_at])
            self.influence[layer] += gap.square().sum(-1).double().sum() / 2  # of unit vectors, 1 - cos
        directions = [_direction(state[angles_at]) for state in states]
        for layer in range(layers):
            for end in range(layer + 1, layers + 1):
                self.angles[layer, end - layer - 1] += _angle(directions[layer], directions[end]).double().sum()
        self.influence_positions += int(influence_at.sum())
        self.angle_positions += int(angles_at.sum())

    def merge(self, other: LayerSimilarity) -> None:
        """Add the sums of ``other``."""
        self.influence += other.influence
        self.angles += other.angles
        self.influence_positions += other.influence_positions
        self.angle_positions += other.angle_positions

    def means(self) -> dict[str, Any]:
        """Return ``influence`` by layer, and ``angular``: by first layer, the angles of blocks of 1, 2, … layers."""
        layers = len(self.influence)
        angles = (self.angles / self.angle_positions).tolist()
        return {
            "influence": (self.influence / self.influence_positions).tolist(),
            "angular": [angles[layer][: layers - layer] for layer in range(layers)],
        }


@torch.inference_mode()
def similarities(translator: Translator, manifest: Manifest, ctx: Context) -> dict[Stack, LayerSimilarity]:
    """Return the similarity of every stack over all utterances.

    In the decoder, influence is taken at every position, and angles where a target token is predicted. In the encoder
    both are taken at every position that reaches its output.
    """
    family, model = translator.architecture, translator.model
    stacks = {stack: family.layers_of(model, stack) for stack in family.stacks}
    found = {stack: _zeros(layers) for stack, layers in stacks.items()}

    def add(batch: Batch) -> None:
        batch_sums = {stack: _zeros(layers) for stack, layers in stacks.items()}
        with _states(stacks.get("encoder", [])) as states:
            encoded = family.encode_audio(model, batch.inputs)
        if states:
            place = torch.arange(states[0].shape[1], device=states[0].device)
            present = place[None] < encoded.counts[:, None] * family.encoder_pooling
            batch_sums["encoder"].add(states, present, present)

        mask = batch.inputs["attention_mask"]
        with _states(stacks["decoder"]) as states:
            embedded = family.embed(model, batch.inputs["input_ids"], encoded)
            family.stack(model, "decoder")(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        predicts = functional.pad(batch.labels[:, 1:] != IGNORED, (0, 1))  # a position predicts the token after it
        batch_sums["decoder"].add(states, mask.bool(), predicts)
        for stack, similarity in batch_sums.items():
            found[stack].merge(similarity)

    TeacherForcing(translator, manifest, ctx, encode_once=False).run("similarity", add)
    return found


def _zeros(layers: Any) -> LayerSimilarity:
    zeros = partial(torch.zeros, dtype=torch.float64, device=next(layers.parameters()).device)
    return LayerSimilarity(zeros(len(layers)), zeros(len(layers), len(layers)))


@contextmanager
def _states(layers: Any) -> Iterator[list[Tensor]]:
    """Collect the input of the first layer and the output of each layer, in one pass inside the block."""
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
    """Return the angle between unit vectors, divided by pi. For nearly equal ones acos would lose half the digits."""
    return 2 * torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1)) / torch.pi

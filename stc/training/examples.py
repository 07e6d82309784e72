"""The examples of a manifest as micro-batches for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stc.data.audio import Recordings
from stc.data.collate import Batch, Collator
from stc.data.manifest import Manifest
from stc.models.architecture import EncodedAudio
from stc.models.parts import part_parameters
from stc.pipeline.stage import Context
from stc.training.checkpoint_state import State

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator


class Examples:
    """Micro-batches of a manifest's utterances, on the device.

    What an encoder that is not trained makes of a recording is always the same, so it is computed once and kept, up
    to :data:`CACHE_BYTES`; distilled and repeated rows share it with the original. Whether the encoder is trained is
    looked up once: examples are made after the choice of parameters.

    Args:
        encode_once: whether to do so; without it every batch has the audio's features.
        features: what the encoder makes of the recordings, where that is known; the encoder then hears none.

    Raises:
        InputError: an utterance is longer than the model's window, or the features lack it.
    """

    CACHE_BYTES = 4 * 1024**3

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
        self._device = ctx.device
        self._ctx = ctx
        self._rows = manifest.rows
        self._collator = Collator.of(translator, manifest.task)
        self._collator.check_lengths(manifest)
        self._recordings = Recordings(manifest, self._collator.sampling_rate, ctx.workers)
        self._encode_once = encode_once and next(part_parameters(translator, ["encoder"]), None) is None
        self._known: dict[str, tuple[np.ndarray, torch.Tensor]] = {}  # by content: prompt tokens, encoder states
        self._kept: list[list[int]] = []  # the utterances whose recordings these are, as they were heard together
        self._room = self.CACHE_BYTES
        self._features = features
        if features is not None:
            features.require(manifest)

    def batch(self, indices: Sequence[int]) -> Batch:
        rows = [self._rows[index] for index in indices]
        targets = [row.target for row in rows]
        if not self._encode_once:
            audio = self._recordings.read(rows)
            return self._collator.pairs([row.id for row in rows], audio, targets).to(self._device)
        if self._features is not None:
            recordings = [row.sha256 for row in rows]
            prompts = self._features.prompts(self._collator, recordings)
            batch = self._collator.join(prompts, self._collator.target_tokens(targets), {}).to(self._device)
            return replace(batch, encoded=self._features.encoded(recordings, self._device))
        known = self._hear(indices)
        prompts, states = zip(*(known[row.sha256] for row in rows), strict=True)
        batch = self._collator.join(prompts, self._collator.target_tokens(targets), {}).to(self._device)
        counts = torch.tensor([len(one) for one in states], device=self._device)
        return replace(batch, encoded=EncodedAudio(torch.cat(states), counts))

    def state(self) -> State:
        return State({"kept": list(self._kept), "room": self._room})

    def load_state(self, state: State) -> None:
        """Hear again what was known, in the same company: in another one the last bits would be others.

        That draws random numbers as the first time (transformers asks for some at every layer of an encoder in train
        mode), so those have to be restored after it.
        """
        kept: list[list[int]] = state.values["kept"]
        if kept:
            with self._ctx.progress("hearing again", total=sum(map(len, kept)), unit="utterance") as bar:
                for indices in kept:
                    self._hear(indices)
                    bar.update(len(indices))
        self._room = state.values["room"]

    @torch.no_grad()
    def _hear(self, indices: Sequence[int]) -> dict[str, tuple[np.ndarray, torch.Tensor]]:
        unknown = {self._rows[index].sha256: index for index in indices if self._rows[index].sha256 not in self._known}
        if not unknown:
            return self._known
        missing = [self._rows[index] for index in unknown.values()]
        audio = self._recordings.read(missing)
        prompts, features = self._collator.process([row.id for row in missing], audio)
        on_device = {name: tensor.to(self._device) for name, tensor in features.items()}
        encoded = self._translator.architecture.encode_audio(self._translator.model, on_device)
        states = encoded.states.split(encoded.counts.tolist())
        fresh = dict(zip(unknown, zip(prompts, states, strict=True), strict=True))
        self._room -= encoded.states.nbytes
        if self._room < 0:
            return {**self._known, **fresh}
        self._known |= fresh
        self._kept.append(list(unknown.values()))
        return self._known

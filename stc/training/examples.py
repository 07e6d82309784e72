"""Micro-batches of a manifest's utterances, for training."""

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
    from stc.models.load_and_save import Translator


class Examples:
    """Makes micro-batches of a manifest's utterances, on the device.

    An encoder that is not trained always gives the same output for a recording. So the output is computed once and
    kept, up to :data:`CACHE_BYTES`; distilled and repeated rows share it with the original. The parameters to train
    must be chosen before the examples are made.

    Args:
        encode_once: whether to keep the encoder's output; otherwise every batch has the log-mel features of the audio.
        features: the encoder's output for the recordings, if it is known. The encoder is then not used.

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
        self._encoded: dict[str, tuple[np.ndarray, torch.Tensor]] = {}  # by SHA-256: prompt tokens, encoder states
        self._batches: list[list[int]] = []  # the utterances of these recordings, as they were encoded together
        self._free_bytes = self.CACHE_BYTES
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
        encoded = self._encode(indices)
        prompts, states = zip(*(encoded[row.sha256] for row in rows), strict=True)
        batch = self._collator.join(prompts, self._collator.target_tokens(targets), {}).to(self._device)
        counts = torch.tensor([len(one) for one in states], device=self._device)
        return replace(batch, encoded=EncodedAudio(torch.cat(states), counts))

    def state(self) -> State:
        return State({"kept": list(self._batches), "room": self._free_bytes})

    def load_state(self, state: State) -> None:
        """Encode the recordings again, in the same batches: in other batches the last bits would differ.

        This draws random numbers (transformers does so at every layer of an encoder in train mode). So the state of the
        random numbers has to be restored after it.
        """
        batches: list[list[int]] = state.values["kept"]
        if batches:
            with self._ctx.progress("encoding again", total=sum(map(len, batches)), unit="utterance") as bar:
                for indices in batches:
                    self._encode(indices)
                    bar.update(len(indices))
        self._free_bytes = state.values["room"]

    @torch.no_grad()
    def _encode(self, indices: Sequence[int]) -> dict[str, tuple[np.ndarray, torch.Tensor]]:
        rows = ((self._rows[index], index) for index in indices)
        unknown = {row.sha256: index for row, index in rows if row.sha256 not in self._encoded}
        if not unknown:
            return self._encoded
        missing = [self._rows[index] for index in unknown.values()]
        audio = self._recordings.read(missing)
        prompts, features = self._collator.process([row.id for row in missing], audio)
        on_device = {name: tensor.to(self._device) for name, tensor in features.items()}
        encoded = self._translator.architecture.encode_audio(self._translator.model, on_device)
        states = encoded.states.split(encoded.counts.tolist())
        fresh = dict(zip(unknown, zip(prompts, states, strict=True), strict=True))
        self._free_bytes -= encoded.states.nbytes
        if self._free_bytes < 0:
            return {**self._encoded, **fresh}
        self._encoded |= fresh
        self._batches.append(list(unknown.values()))
        return self._encoded

"""A speech corpus on the training device, where batches are made and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stc.data.audio import read_pcm
from stc.data.collate import Batch, Collator
from stc.data.manifest import Manifest
from stc.pipeline.stage import Context
from stc.training.augment import distort, draw_rates, mask_features, replace_targets, resample, resampled_lengths
from stc.training.checkpoint_state import State
from stc.training.logmel import LogMel

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator


class Corpus:
    """The examples of several manifests, one for each target language.

    An example is a row of a manifest; examples are numbered through all manifests. Each distinct recording is held
    once, as int16 in one flat tensor on the device.

    Noise is drawn for a batch at a time, so it depends on how a global batch is cut into micro-batches. A CPU draws
    other noise than a GPU.
    """

    def __init__(self, translator: Translator, manifests: Sequence[Manifest], seed: int, ctx: Context) -> None:
        processor = translator.processor
        self._audio_token: int = processor.audio_token_id
        self._device = ctx.device
        self._logmel = LogMel(processor.feature_extractor, ctx.device)
        self._rates = np.random.default_rng(seed)
        self._noise = torch.Generator(ctx.device).manual_seed(seed)
        self._collators: list[Collator] = []  # one for each manifest
        self._targets: list[np.ndarray] = []  # this and the next two: one for each example
        self._manifest: list[int] = []
        self._sha256: list[str] = []
        for number, manifest in enumerate(manifests):
            collator = Collator.of(translator, manifest.task)
            collator.check_lengths(manifest)
            self._collators.append(collator)
            self._targets += collator.target_tokens(manifest.targets)
            self._manifest += [number] * len(manifest)
            self._sha256 += [row.sha256 for row in manifest.rows]
        self._read(manifests, ctx)

    @property
    def lengths(self) -> list[int]:
        """The length of each example in samples."""
        lengths: list[int] = self._length.tolist()
        return lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of examples, with augmented audio and some of the tokens that the decoder reads replaced."""
        return self.batch_with_positions(indices)[0]

    def batch_with_positions(self, indices: Sequence[int]) -> tuple[Batch, list[int]]:
        """Return the same batch, and how many encoder positions each example has without padding."""
        chosen = np.asarray(indices)
        rates = draw_rates(self._length[chosen], self._logmel.samples, self._rates)
        samples = resampled_lengths(self._length[chosen], rates, self._logmel.samples)
        prompts = [
            self._collators[self._manifest[index]].prompt_tokens(count)
            for index, count in zip(indices, samples.tolist(), strict=True)
        ]
        targets = [self._targets[index] for index in indices]
        # A prompt has one placeholder token for each encoder position.
        positions = [int((prompt == self._audio_token).sum()) for prompt in prompts]
        collator = self._collators[0]  # joining does not depend on the task
        joined = collator.join(prompts, targets, self._features(chosen, rates, samples)).to(self._device)
        read = replace_targets(joined.inputs["input_ids"], joined.labels, self._noise)
        return replace(joined, inputs={**joined.inputs, "input_ids": read}), positions

    def state(self) -> State:
        """Return the state of the random numbers."""
        return State({"rates": self._rates.bit_generator.state}, {"noise": self._noise.get_state()})

    def load_state(self, state: State) -> None:
        """Restore the random numbers; those of the noise only on the same kind of device."""
        self._rates.bit_generator.state = state.values["rates"]
        if state.tensors["noise"].shape == self._noise.get_state().shape:
            self._noise.set_state(state.tensors["noise"])

    @torch.no_grad()
    def _features(self, chosen: np.ndarray, rates: np.ndarray, samples: np.ndarray) -> dict[str, torch.Tensor]:
        starts, lengths, counts = (
            torch.from_numpy(values).to(self._device) for values in (self._start[chosen], self._length[chosen], samples)
        )
        played = torch.from_numpy(rates.astype(np.float32)).to(self._device)
        waves = resample(self._flat, starts, lengths, played, self._logmel.samples)
        waves = distort(waves, counts, self._noise)
        features = self._logmel(waves)
        features = mask_features(features, self._collators[0].sampling_rate / self._logmel.hop, self._noise)
        return {"input_features": features, "feature_attention_mask": self._logmel.frame_mask(counts)}

    def _read(self, manifests: Sequence[Manifest], ctx: Context) -> None:
        """Fill the flat tensor, and note where each example's audio is in it."""
        place: dict[str, tuple[int, int]] = {}
        parts: list[np.ndarray] = []
        end = 0
        with ctx.progress("reading audio", total=len(set(self._sha256)), unit="file") as bar:
            for manifest, collator in zip(manifests, self._collators, strict=True):
                rows = list({row.sha256: row for row in manifest.rows if row.sha256 not in place}.values())
                read = read_pcm(manifest, rows, collator.sampling_rate, ctx.workers)
                for row, samples in zip(rows, read, strict=True):
                    parts.append(samples)
                    place[row.sha256] = (end, len(samples))
                    end += len(samples)
                    bar.update(1)
        self._flat = torch.from_numpy(np.concatenate(parts)).to(ctx.device)
        self._start, self._length = np.array([place[key] for key in self._sha256], dtype=np.int64).T.copy()

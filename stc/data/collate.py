"""Turn audio and text into model inputs: the processor's features, prompts, and labels for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from stc.data.manifest import Manifest
from stc.errors import InputError, ModelError
from stc.models.architecture import EncodedAudio
from stc.models.language_pair import Task

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

AFTER = 8  # frames of silence after the longest audio: more than spectrogram and convolutions look ahead
_SPLIT_HINT = "data.over_window=split (stc.evaluate: --over-window split) cuts what is translated in its pauses"
IGNORED = -100  # label of a position that carries no loss


@dataclass(frozen=True)
class Batch:
    """Examples of one forward pass in training.

    Attributes:
        inputs: ``input_ids`` and ``attention_mask`` (utterances, tokens), padded on the right, with the audio's
            features unless it was ``encoded``.
        labels: (utterances, tokens): each position's own token where it belongs to the target, else -100.
        tokens: positions with a label.
        encoded: what the encoder made of the audio, where that is known beforehand.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    tokens: int
    encoded: EncodedAudio | None = None

    def to(self, device: str) -> Batch:
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.to(device))


class Collator:
    """A maker of model inputs, from a processor and the prompt of one task.

    Args:
        prompt: the chat-formatted prompt up to where the translation starts; the same for every utterance.
        device: where the features are computed. They are returned on the CPU.
    """

    def __init__(self, processor: Any, prompt: str, device: str = "cpu") -> None:
        extractor = processor.feature_extractor
        self._processor = processor
        self._device = device
        self._prompt = prompt
        self._tokenizer = processor.tokenizer
        self._window: int = extractor.n_samples
        self._hop: int = extractor.hop_length
        self._prompt_tokens: dict[int, np.ndarray] = {}
        self._template: tuple[np.ndarray, int, np.ndarray] | None = None  # tokens before, for and after the audio
        self.sampling_rate: int = extractor.sampling_rate
        self.end_token: int = processor.tokenizer.eos_token_id

    @classmethod
    def of(cls, translator: Translator, task: Task) -> Self:
        """Return the collator of a model for a task. Features are computed on the model's device."""
        prompt = translator.architecture.prompt(translator.processor, task, translator.folder)
        return cls(translator.processor, prompt, str(translator.model.device))

    def prompts(self, ids: Sequence[str], audio: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return prompts with the audio's features, padded on the right.

        Args:
            ids: ids of the utterances, for error messages.
            audio: float32 samples of each utterance at the processor's sampling rate, (samples,).

        Raises:
            InputError: an utterance is longer than the model's window.
        """
        rows, features = self.process(ids, audio)
        return {**self.pad(rows), **features}

    def pairs(self, ids: Sequence[str], audio: Sequence[np.ndarray], targets: Sequence[str]) -> Batch:
        """Return prompts followed by target and end-of-turn token. Only these two have labels.

        Prompt and target are tokenized separately, so that training sees exactly the prompt tokens of decoding.
        """
        prompts, features = self.process(ids, audio)
        return self.join(prompts, self.target_tokens(targets), features)

    def join(
        self, prompts: Sequence[np.ndarray], targets: Sequence[np.ndarray], features: dict[str, torch.Tensor]
    ) -> Batch:
        """Return the batch of tokenized prompts, targets and audio features; none if the audio is encoded already."""
        pairs = list(zip(prompts, targets, strict=True))
        labels = [np.concatenate([np.full(len(prompt), IGNORED), target]) for prompt, target in pairs]
        inputs = self.pad([np.concatenate(pair) for pair in pairs])
        return Batch({**inputs, **features}, pad(labels, IGNORED), sum(map(len, targets)))

    def target_tokens(self, targets: Sequence[str]) -> list[np.ndarray]:
        """Return each target's tokens and the end-of-turn token: int64, (tokens,)."""
        tokens = self._tokenizer(list(targets), add_special_tokens=False)["input_ids"]
        return [np.array([*row, self.end_token], dtype=np.int64) for row in tokens]

    def prompt_tokens(self, samples: int) -> np.ndarray:
        """Return the prompt's tokens for audio of so many samples, without the audio's features."""
        frames = -(-samples // self._hop)
        if frames not in self._prompt_tokens:
            silence = np.zeros(frames * self._hop, dtype=np.float32)
            self._prompt_tokens[frames] = self.process(["silence"], [silence])[0][0]
        return self._prompt_tokens[frames]

    def prompt_for_states(self, states: int) -> np.ndarray:
        """Return the prompt's tokens for audio that has so many encoder states.

        The processor, which also computes features, is called once. Prompts differ only in the number of placeholders.
        """
        if self._template is None:
            placeholder = self._processor.audio_token_id
            prompt = self.prompt_tokens(self.sampling_rate)  # one second has some placeholders
            places = np.flatnonzero(prompt == placeholder)
            self._template = prompt[: places[0]], placeholder, prompt[places[-1] + 1 :]
        before, placeholder, after = self._template
        return np.concatenate([before, np.full(states, placeholder), after])

    def pad(self, rows: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of rows of tokens, padded on the right."""
        # The mask hides the padding, so it may be any token except the audio's placeholder.
        return {"input_ids": pad(rows, self.end_token), "attention_mask": pad([np.ones(len(row)) for row in rows], 0)}

    def check_lengths(self, manifest: Manifest) -> None:
        """Raise InputError if the manifest has utterances longer than the window, before any work is done."""
        limit = self._window / self.sampling_rate
        if long := [row for row in manifest.rows if row.duration > limit]:
            raise InputError(
                f"{len(long)} utterances of {manifest.folder} are longer than the model's window of {limit:g} s, "
                f"the first is {long[0].id!r} ({long[0].duration:.2f} s); {_SPLIT_HINT}"
            )

    def process(
        self, ids: Sequence[str], audio: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], dict[str, torch.Tensor]]:
        """Return each utterance's prompt tokens, and the features of all, to a little after the end of the longest.

        Arguments and errors are those of :meth:`prompts`.
        """
        for name, samples in zip(ids, audio, strict=True):
            if len(samples) > self._window:  # the processor would cut it silently
                raise InputError(
                    f"utterance {name!r} lasts {len(samples) / self.sampling_rate:.2f} s; "
                    f"the model's window is {self._window / self.sampling_rate:g} s; {_SPLIT_HINT}"
                )
        # Padding every utterance to the window of 30 s would cost more than the audio itself.
        frames = -(-max(map(len, audio)) // self._hop) + AFTER
        processed = self._processor(
            text=[self._prompt] * len(audio),
            audio=list(audio),
            sampling_rate=self.sampling_rate,
            audio_kwargs={"device": self._device, "max_length": min(frames * self._hop, self._window)},
        )
        if "input_features" not in processed:  # a processor ignores arguments it does not know
            raise ModelError(f"{type(self._processor).__name__} made no input_features of the audio")
        features = {name: torch.as_tensor(processed[name]) for name in ("input_features", "feature_attention_mask")}
        return [np.array(row, dtype=np.int64) for row in processed["input_ids"]], features


def pad(rows: Sequence[np.ndarray], value: int) -> torch.Tensor:
    """Return rows of integers as one (rows, longest) int64 tensor, padded on the right with ``value``."""
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)

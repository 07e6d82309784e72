"""From audio and text to what the model reads: the processor's features, prompts, and labels for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from stc.data.manifest import Manifest
from stc.errors import InputError, ModelError
from stc.models.architecture import EncodedAudio
from stc.models.task import Task

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator

AFTER = 8  # frames of silence after the longest audio: more than spectrogram and convolutions see beyond a frame
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
    """Makes model inputs with a processor and the prompt of one task.

    Args:
        prompt: the chat-formatted prompt up to where the translation starts; the same for every utterance.
        device: where the features are computed. They are given on the CPU.
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
        self._around: tuple[np.ndarray, int, np.ndarray] | None = None  # what stands before, for and after audio
        self.sampling_rate: int = extractor.sampling_rate
        self.end_token: int = processor.tokenizer.eos_token_id

    @classmethod
    def of(cls, translator: Translator, task: Task) -> Self:
        """A model's, for a task; the features are computed where the model is."""
        prompt = translator.architecture.prompt(translator.processor, task, translator.folder)
        return cls(translator.processor, prompt, str(translator.model.device))

    def prompts(self, ids: Sequence[str], audio: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Prompts with the audio's features, padded on the right.

        Args:
            ids: the utterances' ids, for error messages.
            audio: float32 samples of each at the processor's sampling rate.

        Raises:
            InputError: audio is longer than the model's window.
        """
        rows, features = self.process(ids, audio)
        return {**self.pad(rows), **features}

    def pairs(self, ids: Sequence[str], audio: Sequence[np.ndarray], targets: Sequence[str]) -> Batch:
        """Prompts followed by their target and the end-of-turn token; only those two carry labels.

        Prompt and target are tokenized apart, so that training sees exactly the prompt tokens of decoding.
        """
        prompts, features = self.process(ids, audio)
        return self.join(prompts, self.target_tokens(targets), features)

    def join(
        self, prompts: Sequence[np.ndarray], targets: Sequence[np.ndarray], features: dict[str, torch.Tensor]
    ) -> Batch:
        """The batch of tokenized prompts and targets and the audio's features, of which there are none where it was
        heard."""
        pairs = list(zip(prompts, targets, strict=True))
        labels = [np.concatenate([np.full(len(prompt), IGNORED), target]) for prompt, target in pairs]
        inputs = self.pad([np.concatenate(pair) for pair in pairs])
        return Batch({**inputs, **features}, pad(labels, IGNORED), sum(map(len, targets)))

    def target_tokens(self, targets: Sequence[str]) -> list[np.ndarray]:
        """Each target's tokens and the end-of-turn token: int64, shape (tokens,)."""
        tokens = self._tokenizer(list(targets), add_special_tokens=False)["input_ids"]
        return [np.array([*row, self.end_token], dtype=np.int64) for row in tokens]

    def prompt_tokens(self, samples: int) -> np.ndarray:
        """The prompt's tokens for audio of that many samples, as :meth:`prompts` has them, without its features."""
        frames = -(-samples // self._hop)
        if frames not in self._prompt_tokens:
            silence = np.zeros(frames * self._hop, dtype=np.float32)
            self._prompt_tokens[frames] = self.process(["silence"], [silence])[0][0]
        return self._prompt_tokens[frames]

    def prompt_of(self, states: int) -> np.ndarray:
        """The prompt's tokens for audio of which the encoder gives so many states.

        The processor is asked once, since it makes features of audio as well; the others differ in the number of
        placeholders.
        """
        if self._around is None:
            placeholder = self._processor.audio_token_id
            prompt = self.prompt_tokens(self.sampling_rate)  # of a second, which has some
            places = np.flatnonzero(prompt == placeholder)
            self._around = prompt[: places[0]], placeholder, prompt[places[-1] + 1 :]
        before, placeholder, after = self._around
        return np.concatenate([before, np.full(states, placeholder), after])

    def pad(self, rows: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` of rows of tokens, padded on the right."""
        # The mask hides padding, so any token but the audio's placeholder will do.
        return {"input_ids": pad(rows, self.end_token), "attention_mask": pad([np.ones(len(row)) for row in rows], 0)}

    def refuse_long(self, manifest: Manifest) -> None:
        """Raise InputError for utterances longer than the window by the manifest, before any work is done."""
        limit = self._window / self.sampling_rate
        if long := [row for row in manifest.rows if row.duration > limit]:
            raise InputError(
                f"{len(long)} utterances of {manifest.folder} are longer than the model's window of {limit:g} s, "
                f"the first is {long[0].id!r} ({long[0].duration:.2f} s)"
            )

    def process(
        self, ids: Sequence[str], audio: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], dict[str, torch.Tensor]]:
        """Each utterance's prompt tokens, and the features of all, to a little after the end of the longest; as for
        :meth:`prompts`."""
        for name, samples in zip(ids, audio, strict=True):
            if len(samples) > self._window:  # the processor would cut it without a word
                raise InputError(
                    f"utterance {name!r} lasts {len(samples) / self.sampling_rate:.2f} s; "
                    f"the model's window is {self._window / self.sampling_rate:g} s"
                )
        # Features of frames that no encoder looks at would cost more than all the others of a window of 30 s.
        frames = -(-max(map(len, audio)) // self._hop) + AFTER
        processed = self._processor(
            text=[self._prompt] * len(audio),
            audio=list(audio),
            sampling_rate=self.sampling_rate,
            audio_kwargs={"device": self._device, "max_length": min(frames * self._hop, self._window)},
        )
        if "input_features" not in processed:  # a processor ignores an argument it doesn't know
            raise ModelError(f"{type(self._processor).__name__} made no input_features of the audio")
        features = {name: torch.as_tensor(processed[name]) for name in ("input_features", "feature_attention_mask")}
        return [np.array(row, dtype=np.int64) for row in processed["input_ids"]], features


def pad(rows: Sequence[np.ndarray], value: int) -> torch.Tensor:
    """Rows of integers as one (rows, longest) int64 tensor, filled up on the right with ``value``."""
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)

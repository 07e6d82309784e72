"""The interface of a model family. The rest of stc asks here and knows no module path itself.

A family is a subclass of :class:`Architecture` in a file of its own beside this one, whose ``ARCHITECTURE`` is an
instance. stc's own engines decode families that are a :class:`stc.models.engine_interface.FastPath`; transformers'
``generate`` decodes the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stc.errors import ModelError
from stc.models.language_pair import Task
from stc.models.prompts import render_template, template_file

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleList

Part = Literal["encoder", "projector", "decoder", "embedding", "head"]
"""A part of a speech translation model: audio encoder, projector from the encoder's width to the decoder's, decoder
layers with their final norm, token embedding, language-modelling head. A family may lack some."""

Stack = str
"""A part that is a stack of layers of one shape, of which some can be removed: ``decoder``, and in most families
``encoder``."""


def protected_layers(layers: int) -> frozenset[int]:
    """Return the layers of a stack of ``layers`` that are never removed: the first and the last.

    They lead into and out of the space that the others work in. Moslem (IWSLT 2025) protects both in the decoder; stc
    does so in the encoder too.
    """
    return frozenset({0, layers - 1})


@dataclass(frozen=True)
class EncodedAudio:
    """The encoder's output for some utterances.

    Attributes:
        states: all utterances one after the other, without padding: (positions, encoder width).
        counts: the number of positions of each utterance: (utterances,), int64.
    """

    states: Tensor
    counts: Tensor


@dataclass(frozen=True)
class ModelDimensions:
    """Dimensions that decide, beside the weights, how much memory a model needs; 0 where unknown.

    Attributes:
        encoder_positions: positions of the encoder for the longest audio.
        cache_elements: elements of keys and values that one token has in one decoder layer.
        vocabulary: tokens that the decoder chooses from.
        encoder_width: elements of one output state of the encoder.
    """

    encoder_positions: int = 0
    cache_elements: int = 0
    vocabulary: int = 0
    encoder_width: int = 0


@dataclass(frozen=True)
class VLLMRequirements:
    """The requirements that the version of vLLM in :mod:`stc.export.vllm` has of a model folder.

    Attributes:
        architecture: the class name that it knows.
        window: frames of the audio window.
        names: the weight names that it can load, as in the folder.
        encoder: prefix of the weights that it loads as transformers does.
        faults: values of the config that it does not support.
    """

    architecture: str
    window: int
    names: frozenset[str]
    encoder: str
    faults: tuple[str, ...] = ()


class Architecture(ABC):
    """The facts of one model family. Stateless, and importable without torch."""

    VERSION: ClassVar[int] = 1
    """Raised when the same files give other results, by another prompt for instance. Above 1 it is part of the identity
    of every model of the family, and of every result made with one."""

    model_type: ClassVar[str]
    """The name of the family in config.json."""

    chat_template: ClassVar[str]
    """The chat template for folders that have none."""

    parts: ClassVar[Mapping[Part, Sequence[str]]]
    """The dotted names of the modules of each part."""

    stacks: ClassVar[Mapping[Stack, str]]
    """The dotted name of the list of layers of each stack."""

    final_norm: ClassVar[str] = "norm"
    """The name of the norm after the decoder's layers, in the module that has the layers."""

    encoder_pooling: ClassVar[int] = 1
    """The number of positions of the encoder's layers that become one position of its output."""

    fixed_weights: ClassVar[Sequence[str]] = ()
    """Names of weights that are never trained. transformers does not freeze them when it loads them."""

    @abstractmethod
    def check(self, config: Mapping[str, Any], where: str) -> None:
        """Check a parsed config.json.

        Args:
            where: the file, for error messages.

        Raises:
            ModelError: no model of the family can have these values. The message names the field.
        """

    @abstractmethod
    def model_class(self) -> type[Any]:
        """Return the transformers class of the whole model."""

    @abstractmethod
    def layers(self, config: Mapping[str, Any]) -> dict[Stack, int]:
        """Return the number of layers of each stack, from a parsed config.json."""

    @abstractmethod
    def keep_layers(self, config: Any, stack: Stack, kept: Sequence[int]) -> None:
        """Edit a transformers config in place so that the stack has only the layers ``kept``.

        Lists in the config must be replaced and not edited.
        """

    @abstractmethod
    def conversation(self, task: Task) -> list[dict[str, Any]]:
        """Return the request for one utterance, in the form that chat templates take.

        Raises:
            InputError: the prompt has no name for the source language.
        """

    @abstractmethod
    def encode_audio(self, model: Any, batch: Mapping[str, Tensor]) -> EncodedAudio:
        """Return the encoder's output, computed over the longest utterance of the batch and not the whole window. A
        family without an encoder returns the input of its projector.

        Args:
            batch: what the processor returns for audio: ``input_features`` (utterances, mel bins, frames) and
                ``feature_attention_mask`` (utterances, frames), on the model's device.
        """

    @abstractmethod
    def embed(self, model: Any, input_ids: Tensor, encoded: EncodedAudio) -> Tensor:
        """Return the decoder's input embeddings, with the projected audio in its place: (utterances, tokens, hidden).

        Args:
            input_ids: prompts with a placeholder for every audio position, (utterances, tokens).

        Raises:
            ModelError: the prompts have another number of placeholders than the audio has positions.
        """

    def unsupported_by_engines(self, config: Mapping[str, Any]) -> str:
        """Return, in words, what only transformers computes of a model with this parsed config.json; empty if stc's own
        engines compute all of it."""
        return f"an architecture, {self.model_type}, that stc's engines do not know"

    def stored_name(self, name: str) -> str:
        """Return the name that a weight of the model has in a published checkpoint."""
        return name

    def dimensions(self, config: Mapping[str, Any]) -> ModelDimensions:
        """Return the dimensions of the model that a parsed config.json describes."""
        return ModelDimensions()

    def known_config(self, hub_id: str) -> Mapping[str, Any] | None:
        """Return the parsed config.json of a model of the hub, if it is known without asking the hub."""
        return None

    def vllm(self, config: Mapping[str, Any]) -> VLLMRequirements | None:
        """Return what vLLM requires of a folder with this config.json; None if that is not known."""
        return None

    def layers_of(self, model: Any, stack: Stack) -> ModuleList:
        """Return the layers of a stack."""
        found: ModuleList = model.get_submodule(self.stacks[stack])
        return found

    def stack(self, model: Any, stack: Stack) -> Any:
        """Return the module that has the layers of a stack and computes all of it."""
        return model.get_submodule(self.stacks[stack].rpartition(".")[0])

    def prompt(self, processor: Any, task: Task, folder: Path | None = None) -> str:
        """Return the chat-formatted prompt for one utterance, up to where the translation starts.

        Args:
            folder: where the processor comes from, for error messages.

        Raises:
            ModelError: the chat template fails, or its text lacks the audio's placeholder or the request.
            InputError: the prompt has no name for the source language.
        """
        file = None if folder is None else template_file(folder)
        where = "the chat template" if file is None else str(file)
        conversation = self.conversation(task)
        text = render_template(processor, conversation, where)
        if (places := text.count(processor.audio_token)) != 1:
            raise ModelError(
                f"{where} makes a prompt with {places or 'no'} place{'s' * (places > 1)} for the audio: one "
                f"{processor.audio_token} is needed"
            )
        pieces = [piece for turn in conversation if isinstance(turn["content"], list) for piece in turn["content"]]
        if missing := [piece["text"] for piece in pieces if piece.get("text", "") not in text]:
            raise ModelError(f"{where} makes a prompt without the request {missing[0]!r}")
        return text

"""What stc has to know of a model family. Everything else in stc asks here and knows no module path itself.

A family is a subclass of :class:`Architecture` in a file of its own beside this one, whose ``ARCHITECTURE`` is an
instance. stc's own engines decode a family that is a :class:`stc.models.fast_path.FastPath` as well; transformers'
``generate`` decodes all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stc.errors import ModelError
from stc.models.prompts import render, template_file
from stc.models.task import Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleList

Part = Literal["encoder", "projector", "decoder", "embedding", "head"]
"""What a speech translation model consists of: audio encoder, the projector from its width to the decoder's, the
decoder layers with their final norm, the token embedding and the language-modelling head. A family may lack some."""

Stack = str
"""A part that is a stack of layers of one shape, of which some can be removed: ``decoder``, and in most families
``encoder``."""


def protected_layers(layers: int) -> frozenset[int]:
    """Return the first and the last of a stack of ``layers``.

    They lead into and out of the space the others work in. The method protects both of the decoder (Moslem, IWSLT
    2025), and stc those of the encoder for the same reason.
    """
    return frozenset({0, layers - 1})


@dataclass(frozen=True)
class EncodedAudio:
    """What the encoder makes of some utterances.

    Attributes:
        states: of all utterances, one after the other and without padding: (positions, encoder width).
        counts: how many of them each utterance has: (utterances,), int64.
    """

    states: Tensor
    counts: Tensor


@dataclass(frozen=True)
class ModelDimensions:
    """What decides, beside the weights, how much memory computing takes; 0 is for what is not known.

    Attributes:
        encoder_positions: positions of the encoder for the longest audio.
        cache_elements: elements of the keys and values that a token leaves behind in one decoder layer.
        vocabulary: tokens a decoder chooses from.
        heard: elements of a state that the encoder gives.
    """

    encoder_positions: int = 0
    cache_elements: int = 0
    vocabulary: int = 0
    encoder_width: int = 0


@dataclass(frozen=True)
class VLLMRequirements:
    """What vLLM asks of a folder, by the version of :mod:`stc.export.vllm`.

    Attributes:
        architecture: the class it knows.
        window: frames of the audio window it takes.
        names: of the weights it has places for, as a folder has them.
        encoder: how the names of weights begin that it takes as transformers does.
        faults: what of the config it does not compute.
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
    of every model of the family, and so of whatever is made with one."""

    model_type: ClassVar[str]
    """As in config.json."""

    chat_template: ClassVar[str]
    """How a conversation is written where a folder has no template of its own."""

    parts: ClassVar[Mapping[Part, Sequence[str]]]
    """Part of the model → the dotted names of the modules it consists of."""

    stacks: ClassVar[Mapping[Stack, str]]
    """Stack → the dotted name of its list of layers."""

    final_norm: ClassVar[str] = "norm"
    """What the norm after the decoder's layers is called in the module that has the layers."""

    encoder_pooling: ClassVar[int] = 1
    """How many positions of the encoder's layers become one of its output."""

    fixed_weights: ClassVar[Sequence[str]] = ()
    """Names of the weights that are never trained. transformers forgets it when it loads them."""

    @abstractmethod
    def check(self, config: Mapping[str, Any], where: str) -> None:
        """Refuse a parsed config.json that no model of the family can have: counts out of bounds, fields of another
        type, parts that do not fit each other.

        Args:
            where: what is to be called in the message.

        Raises:
            ModelError: naming the field.
        """

    @abstractmethod
    def model_class(self) -> type[Any]:
        """Return the transformers class of the whole model."""

    @abstractmethod
    def layers(self, config: Mapping[str, Any]) -> dict[Stack, int]:
        """Return how many layers each stack has that a parsed config.json describes."""

    @abstractmethod
    def keep_layers(self, config: Any, stack: Stack, kept: Sequence[int]) -> None:
        """Edit a transformers config in place so that it describes a stack with only the layers ``kept``.

        What is set is a new value: a list of the config's is not edited itself.
        """

    @abstractmethod
    def conversation(self, task: Task) -> list[dict[str, Any]]:
        """Return what is said to the model about one utterance, as a chat template takes it.

        Raises:
            InputError: the source language is one the prompt has no name for.
        """

    @abstractmethod
    def encode_audio(self, model: Any, batch: Mapping[str, Tensor]) -> EncodedAudio:
        """Return the encoder's output for audio: computed over the longest utterance of the batch, not the whole
        window. A family without an encoder returns what its projector is given.

        Args:
            batch: what the processor returns for audio: ``input_features`` (utterances, mel bins, frames) and
                ``feature_attention_mask`` (utterances, frames), on the model's device.
        """

    @abstractmethod
    def embed(self, model: Any, input_ids: Tensor, encoded: EncodedAudio) -> Tensor:
        """Return the decoder's input embeddings with the projected audio in its place: (utterances, tokens, hidden).

        Args:
            input_ids: prompts with a placeholder for every position of the audio, (utterances, tokens).

        Raises:
            ModelError: the prompts have room for another number of positions than were encoded.
        """

    def stored_name(self, name: str) -> str:
        """Return the name a weight has in a published checkpoint, for its name in the model."""
        return name

    def dimensions(self, config: Mapping[str, Any]) -> ModelDimensions:
        """Return that of the model which a parsed config.json describes; a plan leaves out what is not said."""
        return ModelDimensions()

    def known_config(self, hub_id: str) -> Mapping[str, Any] | None:
        """Return the shape of a model of the hub as a parsed config.json, where it is known without asking the hub."""
        return None

    def vllm(self, config: Mapping[str, Any]) -> VLLMRequirements | None:
        """Return what vLLM asks of a folder with a parsed config.json; None where that was not looked up."""
        return None

    def initialise(self, model: Any) -> None:  # noqa: B027  most need nothing
        """Set, in place, what a randomly initialised model needs beyond random numbers."""

    def layers_of(self, model: Any, stack: Stack) -> ModuleList:
        """Return the layers of a stack."""
        found: ModuleList = model.get_submodule(self.stacks[stack])
        return found

    def stack(self, model: Any, stack: Stack) -> Any:
        """Return the module that has the layers of a stack, and computes all of it."""
        return model.get_submodule(self.stacks[stack].rpartition(".")[0])

    def prompt(self, processor: Any, task: Task, folder: Path | None = None) -> str:
        """Return the chat-formatted prompt for one utterance, up to where the translation starts.

        Args:
            folder: where the processor comes from, for messages.

        Raises:
            ModelError: the chat template fails, or leaves out the audio's place or the request.
            InputError: the source language is one the prompt has no name for.
        """
        file = None if folder is None else template_file(folder)
        where = "the chat template" if file is None else str(file)
        conversation = self.conversation(task)
        text = render(processor, conversation, where)
        if (places := text.count(processor.audio_token)) != 1:
            raise ModelError(
                f"{where} makes a prompt with {places or 'no'} place{'s' * (places > 1)} for the audio: one "
                f"{processor.audio_token} is needed"
            )
        pieces = [piece for turn in conversation if isinstance(turn["content"], list) for piece in turn["content"]]
        if missing := [piece["text"] for piece in pieces if piece.get("text", "") not in text]:
            raise ModelError(f"{where} makes a prompt without the request {missing[0]!r}")
        return text

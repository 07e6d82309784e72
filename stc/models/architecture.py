"""What stc has to know of a model family. Everything else in stc asks here and knows no module path itself."""

from __future__ import annotations

import math
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

Part = Literal["encoder", "projector", "decoder", "embedding", "head"]
"""What a speech translation model consists of: audio encoder, the projector from its width to the decoder's, the
decoder layers with their final norm, the token embedding and the language-modelling head."""

Stack = Literal["decoder", "encoder"]
"""The parts that are a stack of layers of one shape, of which some can be removed."""


def ends(layers: int) -> frozenset[int]:
    """The first and the last of a stack of ``layers``.

    They lead into and out of the space the others work in. The method protects both of the decoder (Moslem, IWSLT
    2025), and stc those of the encoder for the same reason.
    """
    return frozenset({0, layers - 1})


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of some utterances.

    Attributes:
        states: of all utterances, one after the other and without padding: (positions, encoder width).
        counts: how many of them each utterance has: (utterances,), int64.
    """

    states: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Weight:
    """A weight of a model.

    Attributes:
        name: in the model.
        linear: whether it is the matrix of a linear layer: what quantizers pack and adapters are put on.
    """

    name: str
    shape: tuple[int, ...]
    part: Part
    linear: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Extent:
    """What decides, beside the weights, how much memory computing takes.

    Attributes:
        window: positions of the encoder for the longest audio.
        cached: elements of the keys and values that a token leaves behind in one decoder layer.
        vocabulary: tokens a decoder chooses from.
        heard: elements of a state that the encoder gives.
    """

    window: int
    cached: int
    vocabulary: int
    heard: int


class Architecture(ABC):
    """The facts of one model family. Stateless, and importable without torch."""

    VERSION: ClassVar[int] = 1
    """Raised when the same files give other results, by another prompt for instance. Above 1 it is part of the identity
    of every model of the family, and so of whatever is made with one."""

    model_type: ClassVar[str]
    """As in config.json."""

    encoder_pooling: ClassVar[int]
    """How many positions of the encoder's layers become one of its output."""

    chat_template: ClassVar[str]
    """How a conversation is written where a folder has no template of its own."""

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
    def beyond_engines(self, config: Mapping[str, Any]) -> str:
        """What of a parsed config.json :meth:`attention_inputs`, :meth:`layer_output`, :meth:`rotation` and full causal
        attention do not compute, in words; empty where they compute all of it.

        The engines of stc's own that decode and train by these ask here. What they do not compute, transformers does.
        """

    @abstractmethod
    def decoder_layers(self, config: Mapping[str, Any]) -> int:
        """How many decoder layers a parsed config.json describes."""

    @abstractmethod
    def encoder_layers(self, config: Mapping[str, Any]) -> int:
        """How many encoder layers a parsed config.json describes."""

    @abstractmethod
    def weights(self, config: Mapping[str, Any], layers: Mapping[Stack, int]) -> list[Weight]:
        """Every weight, in the model's order, of what a parsed config.json describes, with that many layers."""

    @abstractmethod
    def extent(self, config: Mapping[str, Any]) -> Extent:
        """Of the model that a parsed config.json describes."""

    def published(self, hub_id: str) -> Mapping[str, Any] | None:
        """The shape of a model of the hub as a parsed config.json, where it is known without asking the hub."""
        return None

    def layers(self, config: Mapping[str, Any]) -> dict[Stack, int]:
        """How many layers each stack of a parsed config.json has."""
        return {"decoder": self.decoder_layers(config), "encoder": self.encoder_layers(config)}

    def protected_layers(self, layers: int) -> frozenset[int]:
        """The layers pruning leaves alone, of a stack of ``layers``."""
        return ends(layers)

    @abstractmethod
    def set_decoder_layers(self, config: Any, kept: Sequence[int]) -> None:
        """Edit a transformers config in place so that it describes the decoder with only the layers ``kept``."""

    @abstractmethod
    def set_encoder_layers(self, config: Any, kept: Sequence[int]) -> None:
        """Edit a transformers config in place so that it describes the encoder with only the layers ``kept``."""

    @abstractmethod
    def set_layer_index(self, layer: Any, index: int) -> None:
        """Tell a decoder layer its place, which is where it keeps its keys and values in the cache."""

    @abstractmethod
    def decoder(self, model: Any) -> Any:
        """The module whose ``layers`` (a ``ModuleList``) are the decoder layers, with the final ``norm`` after them."""

    @abstractmethod
    def attention_inputs(
        self, layer: Any, hidden: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What a decoder layer's attention takes: queries, keys and values, (tokens, heads, width) each.

        Args:
            hidden: (tokens, hidden); of which utterances doesn't matter here.
            rotation: what :meth:`rotation` gives for the tokens' positions.
        """

    @abstractmethod
    def layer_output(self, layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
        """A decoder layer's output, (tokens, hidden), from its input and what its attention found, (tokens, heads,
        width)."""

    @abstractmethod
    def rotation(self, decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What positions, (tokens,), do to queries and keys (Su et al. 2021, arXiv 2104.09864), in the type of
        ``hidden``."""

    @abstractmethod
    def attention_shape(self, decoder: Any) -> tuple[int, int, float]:
        """Of a decoder: heads of keys and values, their width, and what scores are multiplied with."""

    @abstractmethod
    def encoder(self, model: Any) -> Any:
        """The module whose ``layers`` (a ``ModuleList``) are the encoder layers."""

    @abstractmethod
    def parts(self, model: Any) -> dict[Part, list[str]]:
        """Part of the model → the dotted names of the modules it consists of."""

    @abstractmethod
    def fixed_weights(self) -> tuple[str, ...]:
        """Names of the weights that are never trained. transformers forgets it when it loads them."""

    @abstractmethod
    def stored_name(self, name: str) -> str:
        """The name a weight has in a published checkpoint, for its name in the model."""

    @abstractmethod
    def conversation(self, task: Task) -> list[dict[str, Any]]:
        """What is said to the model about one utterance, as a chat template takes it.

        Raises:
            InputError: the source language is one the prompt has no name for.
        """

    def prompt(self, processor: Any, task: Task, folder: Path | None = None) -> str:
        """The chat-formatted prompt for one utterance, up to where the translation starts.

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

    @abstractmethod
    def model_class(self) -> type[Any]:
        """The transformers class of the whole model."""

    @abstractmethod
    def hear(self, model: Any, batch: Mapping[str, Tensor]) -> Heard:
        """The encoder's output for audio: computed over the longest utterance of the batch, not the whole window.

        Args:
            batch: what the processor returns for audio: ``input_features`` (utterances, mel bins, frames) and
                ``feature_attention_mask`` (utterances, frames), on the model's device.
        """

    @abstractmethod
    def embed(self, model: Any, input_ids: Tensor, heard: Heard) -> Tensor:
        """The decoder's input embeddings with the projected audio in its place: (utterances, tokens, hidden).

        Args:
            input_ids: prompts with a placeholder for every position of the audio, (utterances, tokens).

        Raises:
            ModelError: the prompts have room for another number of positions than were heard.
        """

    @abstractmethod
    def initialise(self, model: Any) -> None:
        """Set, in place, what a randomly initialised model needs beyond random numbers."""
